// PostgreSQL, which refuses to run as root: then it runs as the user whom Debian has made for it.
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { run } from './cleanup.js';
import { installDebian } from './debian.js';
import { host } from './probes.js';

/** @typedef {import('./definitions.js').TlsFiles} TlsFiles */

const versions = '/usr/lib/postgresql';
const standard = { username: 'postgres', password: 'secret' };

/** @type {import('./definitions.js').ServerDefinition} */
export const postgresql = {
  summary: `PostgreSQL, of Debian; the user "${standard.username}" has the password "${standard.password}"`,
  install: async () => {
    if (!isThere()) await installDebian(['postgresql']);
  },
  isInstalled: isThere,
  prepare: async ({ port, folder }, { tls, credentials = standard, args = [] }) => {
    const user = owner();
    const data = join(folder, 'data');
    chmodSync(folder, 0o711);
    if (!existsSync(join(data, 'PG_VERSION'))) {
      mkdirSync(data, { recursive: true });
      give(data, user, 0o700);
      const password = join(folder, 'password');
      writeFileSync(password, credentials.password);
      give(password, user, 0o600);
      const access = ['--username', credentials.username, '--pwfile', password, '--auth', 'scram-sha-256'];
      const form = ['--encoding', 'UTF8', '--no-locale', '--no-sync'];
      await run(program('initdb'), ['--pgdata', data, ...access, ...form], folder, { user });
    }
    const lines = [
      `listen_addresses = '${host}'`,
      `port = ${port}`,
      "unix_socket_directories = ''",
      'shared_buffers = 16MB',
      // What the kernel has survives the death of the server.
      'fsync = off',
      // Shared memory elsewhere would outlive a server that is killed.
      'dynamic_shared_memory_type = mmap',
      // What says that it is ready is looked for in English.
      "lc_messages = 'C'",
      ...(tls ? tlsSettings(data, tls, user) : []),
      ...args,
    ];
    writeFileSync(join(data, 'postgresql.conf'), `${lines.join('\n')}\n`);
    const asked = tls?.asksClients === true ? ' clientcert=verify-ca' : '';
    const access = `${tls ? 'hostssl' : 'host'} all all ${host}/32 scram-sha-256${asked}`;
    writeFileSync(join(data, 'pg_hba.conf'), `${access}\n`);
  },
  processes: ({ folder }) => [
    {
      name: 'postgresql',
      command: program('postgres'),
      args: ['-D', join(folder, 'data')],
      user: owner(),
      // SIGTERM waits until its clients have gone.
      stopSignal: 'SIGINT',
      isReady: async (logged) => logged().includes('ready to accept connections'),
    },
  ],
  details: ({ port }, { credentials = standard }) => ({
    ...credentials,
    url: `postgresql://${credentials.username}:${credentials.password}@${host}:${port}/postgres`,
  }),
  tools: ({ port }, { credentials = standard }, name) => ({
    command: program(name),
    args: [],
    env: {
      PGHOST: host,
      PGPORT: String(port),
      PGUSER: credentials.username,
      PGPASSWORD: credentials.password,
      PGDATABASE: 'postgres',
    },
  }),
};

function isThere() {
  return newest() !== undefined;
}

/** The newest version that is installed. */
function newest() {
  if (!existsSync(versions)) return undefined;
  const isServer = (/** @type {string} */ version) => existsSync(join(versions, version, 'bin', 'postgres'));
  return readdirSync(versions)
    .filter(isServer)
    .toSorted((a, b) => Number(b) - Number(a))[0];
}

function program(/** @type {string} */ name) {
  return join(versions, newest() ?? 'none', 'bin', name);
}

/** Whom it runs as, if not as the one who starts it. */
function owner() {
  if (process.getuid?.() !== 0) return undefined;
  const line = /^postgres:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'));
  if (!line) throw new Error('root cannot start PostgreSQL: there is no user "postgres" for it');
  return { uid: Number(line[1]), gid: Number(line[2]) };
}

/**
 * @param {string} path @param {import('./definitions.js').User | undefined} user @param {number} mode
 */
function give(path, user, mode) {
  chmodSync(path, mode);
  if (user) chownSync(path, user.uid, user.gid);
}

/** @param {string} data @param {TlsFiles} tls @param {import('./definitions.js').User | undefined} user */
function tlsSettings(data, { certFile, keyFile, caFile }, user) {
  const copied = { ssl_cert_file: certFile, ssl_key_file: keyFile, ssl_ca_file: caFile };
  const settings = Object.entries(copied).map(([setting, from]) => {
    const file = join(data, `${setting}.pem`);
    copyFileSync(from, file);
    give(file, user, 0o600);
    return `${setting} = '${file}'`;
  });
  return ['ssl = on', ...settings];
}
