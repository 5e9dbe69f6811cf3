import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { afterAll } from '@jest/globals';

import { authority } from '../support/certificates.ts';
import { type StartOptions, TestProcess } from '../support/process.ts';

/** The folder from which the programs are started, as their README says. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

/** The README of the sample, where each program's command stands. */
export const readme = readFileSync(`${root}samples/interop/README.md`, 'utf8');

/** Starts a program of samples/interop by the command that its README documents, with more arguments and variables. */
export function start(program: string, options: StartOptions & { readonly withInput?: boolean } = {}): TestProcess {
  const script = `samples/interop/dist/${program}.js`;
  if (!existsSync(`${root}${script}`)) throw new Error(`${script} is not there: run "npm run build" first`);
  const documented = [...readme.matchAll(/^(?:\w+=\S+ )*node (\S+)/gm)].map(([, path]) => path);
  if (!documented.includes(script)) throw new Error(`samples/interop/README.md has no command with ${script}`);
  return new TestProcess(process.execPath, [script, ...(options.args ?? [])], {
    ...options,
    cwd: root,
    env: { TENON_PROFILE: undefined, ...options.env },
  });
}

/** A service of the sample that is up, and where. */
export async function startService(
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly process: TestProcess; readonly address: string; readonly port: string }> {
  const process = start('service', { env: { PORT: '0', ...env } });
  const [, address = ''] = await process.waitForLine(/"event":"serving","address":"([^"]+)"/);
  return { process, address, port: address.slice(address.lastIndexOf(':') + 1) };
}

/**
 * PEM files of an authority and of certificates that it signed: for servers on loopback, and for a client. Removed
 * after the tests.
 */
export function certificateFiles(): Readonly<Record<'ca' | 'cert' | 'key' | 'clientCert' | 'clientKey', string>> {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-interop-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const ca = authority();
  const server = ca.issue({ name: 'localhost', names: ['localhost', '127.0.0.1'] });
  const client = ca.issue({ name: 'client' });
  const write = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  return {
    ca: write('ca.pem', ca.cert),
    cert: write('server.pem', server.cert),
    key: write('server.key', server.key),
    clientCert: write('client.pem', client.cert),
    clientKey: write('client.key', client.key),
  };
}

/** Resolves when something listens at the port of loopback. */
export async function listening(port: number, server: TestProcess): Promise<void> {
  for (let waitedMs = 0; !(await accepts(port)); waitedMs += 50) {
    if (server.exit || waitedMs > 15_000)
      throw new Error(`nothing listens on ${port}\n${server.stdout}${server.stderr}`);
    await sleep(50);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
