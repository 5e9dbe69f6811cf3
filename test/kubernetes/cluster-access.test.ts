import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { afterAll, describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { clusterAccess, type ClusterOptions } from '../../src/kubernetes/cluster-access.ts';
import type { ClusterAccess } from '../../src/kubernetes/kubeconfig.ts';
import { ExecCredentials } from '../../src/kubernetes/exec-credentials.ts';
import { ServerClock } from '../../src/kubernetes/server-clock.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { eventually } from '../support/waiting.ts';

const folder = mkdtempSync(join(tmpdir(), 'tenon-kubeconfig-'));
afterAll(() => rmSync(folder, { recursive: true }));

let serial = 0;
function file(text: string, name = `config-${(serial += 1)}`): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function config(user: object, cluster: object = {}, more: object = {}): string {
  return JSON.stringify({
    'current-context': 'here',
    clusters: [{ name: 'c', cluster: { server: 'https://10.0.0.1:6443', ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'here', context: { cluster: 'c', user: 'u', namespace: 'shop' } }],
    ...more,
  });
}

const access = (options: Partial<ClusterOptions>): Promise<ClusterAccess> =>
  clusterAccess({ serviceAccountFolder: join(folder, 'nowhere'), ...options });
const invalid = (message: RegExp | string): object => ({
  code: Code.FailedPrecondition,
  reason: 'kubernetes.invalid_config',
  message: expect.stringMatching(message),
});
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('a kubeconfig', () => {
  it('says the server, whom to trust, who connects, and the namespace', async () => {
    const cluster = { 'certificate-authority': 'ca.crt', 'tls-server-name': 'kubernetes' };
    const kubeconfig = file(config({ token: 'secret' }, cluster));
    expect(await access({ kubeconfig })).toEqual({
      server: 'https://10.0.0.1:6443',
      tls: { caFile: join(folder, 'ca.crt'), serverName: 'kubernetes' },
      credentials: { token: 'secret' },
      namespace: 'shop',
    });
  });

  it('may hold certificates and keys itself, which are stronger than files', async () => {
    const user = { 'client-certificate-data': base64('CERT'), 'client-key-data': base64('KEY'), 'client-key': 'x.key' };
    const kubeconfig = file(config(user, { 'certificate-authority-data': base64('CA'), 'certificate-authority': 'x' }));
    expect((await access({ kubeconfig })).tls).toEqual({ ca: 'CA', cert: 'CERT', key: 'KEY' });
    const files = file(config({ 'client-certificate': 'a.crt', 'client-key': '/etc/a.key' }));
    expect((await access({ kubeconfig: files })).tls).toEqual({
      certFile: join(folder, 'a.crt'),
      keyFile: '/etc/a.key',
    });
    const careless = file(config({}, { 'insecure-skip-tls-verify': true }));
    expect((await access({ kubeconfig: careless })).tls).toEqual({ insecureSkipVerify: true });
  });

  it('has a file of a token, which is stronger than the token', async () => {
    const kubeconfig = file(config({ token: 'old', tokenFile: 'token' }));
    expect((await access({ kubeconfig })).credentials).toEqual({ tokenFile: join(folder, 'token') });
  });

  it('may be YAML, and several files, of which the first that says a thing counts', async () => {
    const first = file('current-context: there\nusers:\n- name: u\n  user:\n    token: first\n');
    const second = file(
      config({ token: 'second' }, {}, { contexts: [{ name: 'there', context: { cluster: 'c', user: 'u' } }] }),
    );
    expect(await access({ kubeconfig: [first, second].join(delimiter) })).toMatchObject({
      server: 'https://10.0.0.1:6443',
      credentials: { token: 'first' },
    });
  });

  it('has the context that was chosen', async () => {
    const contexts = [{ name: 'other', context: { cluster: 'c', user: 'u', namespace: 'other' } }];
    const kubeconfig = file(config({}, {}, { contexts }));
    expect((await access({ kubeconfig, context: 'other' })).namespace).toBe('other');
    await expect(access({ kubeconfig })).rejects.toMatchObject(invalid('it has no context "here"'));
  });

  it.each<[string, object, object, RegExp]>([
    ['auth-provider', { 'auth-provider': { name: 'gcp' } }, {}, /auth-provider.*exec plugin/],
    ['a password', { username: 'me', password: 'secret' }, {}, /username\. Kubernetes 1\.19 removed passwords/],
    ['impersonation', { as: 'root' }, {}, /impersonation is not supported/],
    [
      'an exec without a command',
      { exec: { apiVersion: 'client.authentication.k8s.io/v1' } },
      {},
      /needs apiVersion and command/,
    ],
    ['a proxy', {}, { 'proxy-url': 'http://proxy' }, /proxy-url is not supported/],
    ['no server', {}, { server: '' }, /its cluster has no server/],
  ])('with %s is refused', async (_title, user, cluster, message) => {
    const kubeconfig = file(config(user, cluster));
    const error = await access({ kubeconfig }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject(invalid(message));
    expect(String(error)).not.toContain('secret');
  });

  it.each<[string, string, RegExp]>([
    ['neither JSON nor YAML', '{"a": [', /neither JSON nor YAML/],
    ['no configuration', '"text"', /holds no configuration/],
    ['without a context', '{}', /no current-context/],
    ['without the cluster', config({}, {}, { clusters: null }), /no cluster "c"/],
    ['without the user', config({}, {}, { users: [{}] }), /no user "u"/],
  ])('that is %s is refused', async (_title, text, message) => {
    await expect(access({ kubeconfig: file(text) })).rejects.toMatchObject(invalid(message));
  });

  it('that is missing is refused, with where it would be', async () => {
    const kubeconfig = join(folder, 'missing');
    await expect(access({ kubeconfig })).rejects.toMatchObject(invalid(/missing.*cannot be read.*KUBECONFIG/));
  });
});

describe('a cluster', () => {
  it('is that of the pod, with the files of its service account', async () => {
    const serviceAccountFolder = join(folder, 'pod');
    mkdirSync(serviceAccountFolder);
    file('shop\n', 'pod/namespace');
    expect(await access({ serviceAccountFolder, serviceHost: 'fd00::1', servicePort: 6443 })).toEqual({
      server: 'https://[fd00::1]:6443',
      tls: { caFile: join(serviceAccountFolder, 'ca.crt') },
      credentials: { tokenFile: join(serviceAccountFolder, 'token') },
      namespace: 'shop',
    });
  });

  it('is where an address says, by the kubeconfig that is given and no other', async () => {
    const kubeconfig = file(config({ token: 'secret' }));
    expect(await access({ address: 'a:1,b:2', kubeconfig })).toMatchObject({
      server: 'https://a:1,b:2',
      credentials: { token: 'secret' },
    });
    expect(await access({ address: 'http://a:1', serviceHost: 'pod' })).toEqual({ server: 'http://a:1' });
  });

  it('takes TLS and credentials of its own before those of a kubeconfig', async () => {
    const kubeconfig = file(
      config({ exec: { apiVersion: 'v1', command: 'x' } }, { 'certificate-authority': 'ca.crt' }),
    );
    const options = { tls: { caFile: '/own.crt' }, credentials: { token: 'own' } };
    expect(await access({ kubeconfig, ...options })).toEqual({
      server: 'https://10.0.0.1:6443',
      namespace: 'shop',
      exec: undefined,
      ...options,
    });
  });
});

describe('an exec plugin', () => {
  /** Stands still, so that a test says when the plugin may be started again. */
  const time = { nowMs: 0, monotonicMs: () => time.nowMs };
  const plugin = (script: string, more: object = {}, clock = new ServerClock(systemRuntime.clock)): ExecCredentials => {
    const path = file(`#!/bin/sh\n${script}\n`, `plugin-${(serial += 1)}`);
    chmodSync(path, 0o755);
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: path,
      args: ['one'],
      env: { EXTRA: 'more' },
    };
    return new ExecCredentials({ ...exec, ...more }, clock, time);
  };
  const failed = (message: RegExp): object => ({
    reason: 'kubernetes.exec_failed',
    message: expect.stringMatching(message),
  });

  it('is given its arguments and variables, and asked once until its token is refused', async () => {
    const runs = join(folder, 'runs');
    const credentials = plugin(
      `echo x >> ${runs}; echo "{\\"status\\":{\\"token\\":\\"$1-$EXTRA-$(wc -l < ${runs} | tr -d ' ')\\"}}"; test -n "$KUBERNETES_EXEC_INFO"`,
    );
    expect(await Promise.all([credentials.token(), credentials.token()])).toEqual(['one-more-1', 'one-more-1']);
    expect(await credentials.token()).toBe('one-more-1');
    time.nowMs += 5_000;
    expect(credentials.refused('one-more-1')).toBe(true);
    expect(await credentials.token()).toBe('one-more-2');
  });

  it('ends with its cluster, though it does not heed SIGTERM', async () => {
    const started = join(folder, 'started');
    const credentials = plugin(`trap '' TERM; echo $$ > ${started}; while :; do sleep 0.1; done`);
    const token = failureOf(credentials.token());
    await eventually('it runs', () => existsSync(started) && readFileSync(started, 'utf8') !== '');
    const pid = Number(readFileSync(started, 'utf8'));
    credentials.close();
    expect(await token).toMatchObject({ reason: 'kubernetes.exec_failed' });
    await eventually('it has ended', () => {
      try {
        return !process.kill(pid, 0);
      } catch {
        return true;
      }
    });
  });

  it('is started once for all requests whose token was refused, and not again within five seconds', async () => {
    const runs = join(folder, 'runs-refused');
    const credentials = plugin(
      `echo x >> ${runs}; echo "{\\"status\\":{\\"token\\":\\"t$(wc -l < ${runs} | tr -d ' ')\\"}}"`,
    );
    expect(await credentials.token()).toBe('t1');
    // It was given a moment ago: another one would be refused just the same.
    expect(credentials.refused('t1')).toBe(false);
    expect(await credentials.token()).toBe('t1');
    time.nowMs += 5_000;
    const again = Array.from({ length: 10 }, async () => {
      expect(credentials.refused('t1')).toBe(true);
      return credentials.token();
    });
    expect(new Set(await Promise.all(again))).toEqual(new Set(['t2']));
    // A request that had shown the old one, and hears of it late.
    expect(credentials.refused('t1')).toBe(true);
    expect(await credentials.token()).toBe('t2');
    expect(readFileSync(runs, 'utf8')).toBe('x\nx\n');
  });

  it.each([
    ['fails', 'exit 1', false],
    [
      'gives tokens that have ended',
      `echo '{"status":{"token":"t","expirationTimestamp":"2001-01-01T00:00:00Z"}}'`,
      true,
    ],
  ])('that %s is not started for each request', async (_what, script, hasToken) => {
    const runs = join(folder, `runs-${(serial += 1)}`);
    // The server's time is known, and later.
    const clock = new ServerClock(systemRuntime.clock);
    await clock.timed(async () => ({ status: 200, headers: { date: 'Thu, 01 Jan 2026 00:00:00 GMT' } }), {
      signal: new AbortController().signal,
      mayTakeLong: false,
    });
    const credentials = plugin(`echo x >> ${runs}; ${script}`, {}, clock);
    const ask = async (): Promise<string> => credentials.token().catch(() => 'failed');
    const outcome = hasToken ? 't' : 'failed';
    for (let times = 0; times < 5; times += 1) expect(await Promise.all([ask(), ask()])).toEqual([outcome, outcome]);
    expect(readFileSync(runs, 'utf8')).toBe('x\n');
    time.nowMs += 5_000;
    await Promise.all([ask(), ask(), ask()]);
    expect(readFileSync(runs, 'utf8')).toBe('x\nx\n');
  });

  it('that fails, or gives no token, is named with what it said', async () => {
    await expect(plugin('echo "log in first" >&2; exit 1').token()).rejects.toMatchObject(
      failed(/plugin-\d+.*log in first/),
    );
    await expect(plugin('echo hello').token()).rejects.toMatchObject(failed(/no ExecCredential/));
    await expect(plugin('echo {}').token()).rejects.toMatchObject(failed(/it gave no token/));
    const certificate = plugin('echo \'{"status":{"clientCertificateData":"x"}}\'');
    await expect(certificate.token()).rejects.toMatchObject(failed(/certificate, which is not supported/));
    const missing = plugin('', { command: join(folder, 'no-such'), installHint: 'Install it.\n' });
    await expect(missing.token()).rejects.toMatchObject(failed(/ENOENT.*Install it\./));
  });
});
