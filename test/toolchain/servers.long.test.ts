import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { processesIn } from '../../scripts/backends/processes.js';
import { authority } from '../support/certificates.ts';
import { startNode } from '../support/process.ts';
import { BackendServer, describeWithServer, type ServerOptions, serverNames } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';

const patienceMs = 200_000;
/** Most of these start several servers, of which some take seconds. */
const longMs = 600_000;

const folder = mkdtempSync(join(tmpdir(), 'tenon-servers-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes to a server, and reads it, with the tools that come with it. */
interface Tools {
  readonly write: (server: BackendServer) => Promise<unknown>;
  /** What was written, or another text if there is none. */
  readonly read: (server: BackendServer) => Promise<string>;
}

const kafkaTopics = (server: BackendServer, ...args: readonly string[]): Promise<string> => {
  const access = ['--bootstrap-server', server.address, '--command-config', server.details['clientFile'] ?? ''];
  return server.tool('org.apache.kafka.tools.TopicCommand', ...access, ...args);
};

const toolsOf: Readonly<Record<string, Tools>> = {
  rabbitmq: {
    write: (server) => server.tool('rabbitmqctl', 'add_vhost', 'written'),
    read: (server) => server.tool('rabbitmqctl', 'list_vhosts'),
  },
  kafka: {
    write: (server) => kafkaTopics(server, '--create', '--topic', 'written'),
    read: (server) => kafkaTopics(server, '--list'),
  },
  mosquitto: {
    write: (server) => server.tool('mosquitto_pub', '-t', 'kept', '-q', '1', '-r', '-m', 'written'),
    // Without a retained message it waits in vain, and fails.
    read: (server) => server.tool('mosquitto_sub', '-t', 'kept', '-C', '1', '-W', '5').catch(String),
  },
  postgresql: {
    write: (server) => server.tool('psql', '-c', 'CREATE TABLE written (id int)'),
    read: (server) => server.tool('psql', '-t', '-c', 'SELECT tablename FROM pg_tables'),
  },
};
const withTools = Object.entries(toolsOf).map(([name, tools]) => ({ name, ...tools }));

describe.each(serverNames)('a server of a test: %s', (name) => {
  describeWithServer('on a free port', new BackendServer(name), (server) => {
    test(
      'can be killed and started again at the same address',
      async () => {
        const { address, pid } = server;
        await server.kill();
        expect(processesIn(server.folder)).toEqual([]);
        await expect(reach(server.port)).rejects.toThrow('ECONNREFUSED');
        await server.start();
        expect(server.address).toBe(address);
        expect(server.pid).not.toBe(pid);
        await reach(server.port);
      },
      longMs,
    );
  });
});

describe.each(withTools)('$name', ({ name, write, read }) => {
  describeWithServer('that keeps its data', new BackendServer(name, { persistent: true }), (server) => {
    test(
      'has them after a stop and after a kill, and not once they were erased',
      async () => {
        await write(server);
        await server.restart();
        expect(await read(server)).toContain('written');
        await server.kill();
        await server.start();
        expect(await read(server)).toContain('written');
        await server.stop();
        server.erase();
        await server.start();
        expect(await read(server)).not.toContain('written');
      },
      longMs,
    );

    test(
      'stands still while it is paused, with all that it started, and goes on then',
      async () => {
        server.pause();
        // At once: a test that asks next is to get no answer.
        expect(running(server.folder)).toEqual([]);
        server.resume();
        await write(server);
        expect(await read(server)).toContain('written');
      },
      longMs,
    );
  });

  describeWithServer('of two beside each other', new BackendServer(name), (server) => {
    test(
      'has data of its own',
      async () => {
        const other = new BackendServer(name);
        try {
          await other.start();
          await write(other);
          expect(await read(server)).not.toContain('written');
          expect(await read(other)).toContain('written');
        } finally {
          await other.dispose();
        }
      },
      longMs,
    );

    test.each(['SIGINT', 'SIGKILL'] as const)(
      'ends with all that it started when the process that started it ends by %s',
      async (signal) => {
        const url = JSON.stringify(pathToFileURL(resolve('scripts/backends/server.js')).href);
        const code = `const { BackendServer } = await import(${url});
const server = await new BackendServer(${JSON.stringify(name)}).start();
console.log('in ' + server.folder);
setInterval(() => {}, 1_000);`;
        const child = startNode('--input-type=module', { args: ['-e', code] });
        const [, place = ''] = await child.waitForLine(/^in (.+)$/, patienceMs);
        expect(processesIn(place).length).toBeGreaterThan(0);
        process.kill(child.pid, signal);
        expect(await child.exited).toEqual({ code: null, signal });
        await eventually('all have ended', () => processesIn(place).length === 0, patienceMs);
        rmSync(place, { recursive: true, force: true });
      },
      longMs,
    );
  });

  const options: ServerOptions = { tls: tlsFiles(), credentials: { username: 'alice', password: 'wonder-1' } };
  describeWithServer('with TLS and a user', new BackendServer(name, options), (server) => {
    test(
      'is used by that user',
      async () => {
        await write(server);
        expect(await read(server)).toContain('written');
      },
      longMs,
    );
  });
});

describeWithServer('PostgreSQL with TLS and a user', new BackendServer('postgresql', { tls: tlsFiles() }), (server) => {
  let says: (url: string) => Promise<string>;
  beforeAll(() => {
    says = (url) => server.tool('psql', '-t', '-c', 'SELECT current_user', url).catch(String);
  });

  test('lets nobody in who has another password, or comes in the clear', async () => {
    const { url = '', password = '' } = server.details;
    expect(await says(url)).toContain('postgres');
    expect(await says(url.replace(`:${password}@`, ':other@'))).toContain('password authentication failed');
    expect(await says(`${url}?sslmode=disable`)).toContain('no encryption');
  });
});

function tlsFiles(): NonNullable<ServerOptions['tls']> {
  const ca = authority();
  const { cert, key } = ca.issue({ name: 'server', names: ['127.0.0.1', 'localhost'] });
  const files = { certFile: 'server.crt', keyFile: 'server.key', caFile: 'ca.crt' };
  const [certFile, keyFile, caFile] = Object.values(files).map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key);
  writeFileSync(caFile, ca.cert);
  return { certFile, keyFile, caFile };
}

/** Resolves when all processes of a server stand still. */
/** The threads that do not stand still. */
function running(place: string): string[] {
  const isStopped = (task: string): boolean => /^State:\s*T/m.test(readFileSync(`${task}/status`, 'utf8'));
  const tasksOf = (pid: number): string[] => readdirSync(`/proc/${pid}/task`).map((id) => `/proc/${pid}/task/${id}`);
  return processesIn(place)
    .flatMap(tasksOf)
    .filter((task) => !isStopped(task));
}

function reach(port: number): Promise<void> {
  return new Promise((done, reject) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      socket.destroy();
      done();
    });
    socket.once('error', (error: NodeJS.ErrnoException) => reject(new Error(error.code)));
  });
}
