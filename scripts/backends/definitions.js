// The servers that tests and developers can start: how each is installed and started, and when it serves.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { brokers } from './brokers.js';
import { debianPackages, goProgram, hasCommand, installed, mavenLibraries, once } from './install.js';
import { kubernetesServer } from './kubernetes.js';
import { postgresql } from './postgresql.js';
import { answersHttp, answersText, host } from './probes.js';

/**
 * @typedef {object} TlsFiles Files in PEM.
 * @property {string} certFile
 * @property {string} keyFile
 * @property {string} caFile
 * @property {boolean} [asksClients] clients have to show a certificate
 * @property {{ certFile: string, keyFile: string }} [probe] shown by who looks whether it has started
 *
 * @typedef {object} ServerOptions
 * @property {number} [port] default: a free one
 * @property {boolean} [persistent] keeps the data over a restart, where the server does not keep them anyway
 * @property {TlsFiles} [tls] then it speaks TLS, and nothing in the clear
 * @property {string} [join] address of another, of which it becomes a part: Consul's `details.serf`, or `details.cluster`
 *   of NATS
 * @property {readonly string[]} [args] more arguments, or lines of its configuration
 * @property {number} [member] its number in an ensemble, all of whose members its lines of configuration name
 * @property {{ username: string, password: string }} [credentials] of the only user that RabbitMQ, Kafka, Mosquitto and
 *   PostgreSQL let in
 * @property {string} [advertised] the address that Kafka tells its clients: that of a proxy before it
 *
 * @typedef {object} Place Where one server is.
 * @property {number} port
 * @property {string} folder
 * @property {(name: string) => number} portOf another port of it; the same for the same name
 *
 * @typedef {object} ServerProcess
 * @property {string} name of its log file
 * @property {string} command
 * @property {readonly string[]} args
 * @property {(logged: () => string) => Promise<boolean>} isReady `logged`: what it has printed
 * @property {Readonly<Record<string, string>>} [env] more variables
 * @property {User | undefined} [user] default: the one who starts it
 * @property {NodeJS.Signals} [stopSignal] default: SIGTERM
 *
 * @typedef {object} User
 * @property {number} uid
 * @property {number} gid
 *
 * @typedef {object} Tool
 * @property {string} command
 * @property {readonly string[]} args those that come first
 * @property {Readonly<Record<string, string>>} [env] more variables
 *
 * @typedef {object} ServerDefinition
 * @property {string} summary
 * @property {() => Promise<void>} install does nothing if it is there
 * @property {() => boolean} isInstalled
 * @property {readonly string[]} [ports] names of its other ports
 * @property {(place: Place, options: ServerOptions) => Promise<void>} [prepare] writes files
 * @property {(place: Place, options: ServerOptions) => readonly ServerProcess[]} processes started in this order
 * @property {(place: Place, options: ServerOptions) => Readonly<Record<string, string>>} [details] more addresses
 * @property {(place: Place, options: ServerOptions, name: string) => Tool} [tools] programs that come with it
 */

const etcdVersion = 'v3.7.3';
const consulVersion = 'v1.21.0';
const zookeeperVersion = '3.9.4';
const oldZookeeperVersion = '3.5.10';
const natsVersion = 'v2.15.2';
const toxiproxyVersion = 'v2.5.0';
const corednsVersion = 'v1.15.0';
// Chosen when it is built. Their order in a server is that of CoreDNS, whatever the order of the imports.
const corednsPlugins = [
  'bind',
  'cache',
  'errors',
  'file',
  'forward',
  'hosts',
  'kubernetes',
  'loadbalance',
  'ready',
  'template',
];
const corednsProgram = installed(`coredns-${corednsVersion}`, 'coredns');

/** @type {Readonly<Record<string, ServerDefinition>>} */
export const servers = {
  redis: {
    summary: 'Redis, of Debian',
    install: () => debianPackages('redis-server', 'redis-server'),
    isInstalled: () => hasCommand('redis-server'),
    processes: ({ port, folder }, { tls, persistent = false, args = [] }) => [
      {
        name: 'redis',
        command: 'redis-server',
        args: [
          '--bind',
          host,
          '--dir',
          folder,
          '--save',
          '',
          ...(persistent ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no']),
          ...redisPort(port, tls),
          ...args,
        ],
        // One that asks for a password answers as well.
        isReady: () => answersText(port, 'PING\r\n', /^(?:\+PONG|-NOAUTH)/, tls),
      },
    ],
    tools: ({ port }, { tls }, name) => ({
      command: name,
      args: ['-h', host, '-p', String(port), ...(tls ? ['--tls', '--cacert', tls.caFile] : [])],
    }),
  },
  etcd: {
    summary: 'etcd, of its Go module',
    ...goServer('etcd', etcdVersion, {
      source: 'go.etcd.io/etcd/server/v3',
      modules: [`go.etcd.io/etcd/server/v3@${etcdVersion}`],
    }),
    ports: ['peer'],
    processes: ({ port, folder, portOf }, { tls, args = [] }) => {
      const url = `${tls ? 'https' : 'http'}://${host}:${port}`;
      const peer = `http://${host}:${portOf('peer')}`;
      const files = tls ? ['--cert-file', tls.certFile, '--key-file', tls.keyFile] : [];
      const clients = tls?.asksClients === true ? ['--client-cert-auth', '--trusted-ca-file', tls.caFile] : [];
      return [
        {
          name: 'etcd',
          command: installed(`etcd-${etcdVersion}`, 'etcd'),
          args: [
            '--name',
            'test',
            '--data-dir',
            join(folder, 'data'),
            '--unsafe-no-fsync',
            '--listen-client-urls',
            url,
            '--advertise-client-urls',
            url,
            '--listen-peer-urls',
            peer,
            '--initial-advertise-peer-urls',
            peer,
            '--initial-cluster',
            `test=${peer}`,
            '--log-level',
            'warn',
            ...files,
            ...clients,
            ...args,
          ],
          isReady: () => answersHttp(`${url}/health`, /"health":"true"/, tls),
        },
      ];
    },
  },
  consul: {
    summary: 'a Consul agent, of its Go module: in development mode, without data of its own unless it is persistent',
    ...goServer('consul', consulVersion, {
      source: 'github.com/hashicorp/consul',
      // It asks for a version of consul-awsauth that the checksum database does not know.
      modules: [
        `github.com/hashicorp/consul@${consulVersion}`,
        'github.com/hashicorp/consul-awsauth@v0.0.0-20250825122907-9e35fe9ded3a',
      ],
    }),
    ports: ['dns', 'server', 'serf'],
    prepare: async ({ port, folder, portOf }, { tls, join: joined }) => {
      const files = tls && { cert_file: tls.certFile, key_file: tls.keyFile, ca_file: tls.caFile };
      const settings = {
        node_name: `test-${port}`,
        bind_addr: host,
        client_addr: host,
        log_level: 'warn',
        ports: {
          http: tls ? -1 : port,
          https: tls ? port : -1,
          dns: portOf('dns'),
          server: portOf('server'),
          serf_lan: portOf('serf'),
          serf_wan: -1,
          grpc: -1,
          grpc_tls: -1,
        },
        check_update_interval: '0s',
        disable_update_check: true,
        ...(joined !== undefined && { retry_join: [joined], retry_interval: '1s' }),
        ...(files && { tls: { https: { ...files, verify_incoming: tls?.asksClients === true } } }),
      };
      writeFileSync(join(folder, 'consul.json'), JSON.stringify(settings));
    },
    processes: ({ port, folder }, { persistent = false, tls, join: joined, args = [] }) => {
      const data = ['-data-dir', join(folder, 'data')];
      const server = persistent ? ['-server', '-bootstrap-expect=1', ...data] : ['-dev'];
      const url = `${tls ? 'https' : 'http'}://${host}:${port}/v1/status/leader`;
      return [
        {
          name: 'consul',
          command: installed(`consul-${consulVersion}`, 'consul'),
          args: [
            'agent',
            ...(joined === undefined ? server : data),
            '-config-file',
            join(folder, 'consul.json'),
            ...args,
          ],
          isReady: () => answersHttp(url, /^".+"/, tls),
        },
      ];
    },
    details: ({ portOf }) => ({ dns: `${host}:${portOf('dns')}`, serf: `${host}:${portOf('serf')}` }),
  },
  zookeeper: {
    summary: 'ZooKeeper, of its Maven artifact, with ticks of half a second',
    ...zookeeperServer(zookeeperVersion, [
      'org.xerial.snappy:snappy-java:1.1.10.7',
      'io.dropwizard.metrics:metrics-core:4.2.30',
      'commons-io:commons-io:2.18.0',
      'org.slf4j:slf4j-simple:2.0.17',
    ]),
  },
  'zookeeper-old': {
    summary: 'a ZooKeeper without recursive watches, which fleets still have',
    ...zookeeperServer(oldZookeeperVersion, []),
  },
  coredns: {
    summary:
      'CoreDNS, of its Go module: answers with the records of its file `zone`, which is read again when it changes',
    ...goServer('coredns', corednsVersion, {
      source: corednsSource(),
      modules: [`github.com/coredns/coredns@${corednsVersion}`],
    }),
    ports: ['ready'],
    prepare: async ({ port, folder, portOf }, { args = [] }) => {
      const zone = join(folder, 'zone');
      if (!existsSync(zone)) writeFileSync(zone, '. 0 IN SOA ns. admin. 1 3600 600 86400 0\n. 0 IN NS ns.\n');
      const lines = ['errors', `bind ${host}`, `ready ${host}:${portOf('ready')}`, ...args];
      const file = `file ${zone} . {\n    reload 50ms\n  }`;
      writeFileSync(join(folder, 'Corefile'), `.:${port} {\n  ${[...lines, file].join('\n  ')}\n}\n`);
    },
    processes: ({ folder, portOf }) => [
      {
        name: 'coredns',
        command: corednsProgram,
        args: ['-conf', join(folder, 'Corefile')],
        isReady: () => answersHttp(`http://${host}:${portOf('ready')}/ready`, /OK/),
      },
    ],
  },
  kubernetes: kubernetesServer(() => ({ etcd: servers['etcd'], coredns: servers['coredns'] }), {
    etcd: installed(`etcd-${etcdVersion}`, 'etcd'),
    coredns: corednsProgram,
  }),
  nats: natsServer('nats-server, of its Go module: with JetStream if it is persistent, else a member of a cluster'),
  'nats-jetstream': natsServer('nats-server, of its Go module, with JetStream', true),
  ...brokers,
  postgresql,
  toxiproxy: {
    summary: 'Toxiproxy, of its Go module: its HTTP API makes connections slow, silent and broken',
    ...goServer('toxiproxy', toxiproxyVersion, {
      source: 'github.com/Shopify/toxiproxy/v2/cmd/server',
      modules: [`github.com/Shopify/toxiproxy/v2@${toxiproxyVersion}`],
    }),
    processes: ({ port }, { args = [] }) => [
      {
        name: 'toxiproxy',
        command: installed(`toxiproxy-${toxiproxyVersion}`, 'toxiproxy'),
        args: ['-host', host, '-port', String(port), ...args],
        isReady: () => answersHttp(`http://${host}:${port}/version`, /./),
      },
    ],
  },
};

/**
 * A server that is a program of a Go module.
 * @param {string} name @param {string} version @param {Omit<import('./install.js').GoProgram, 'name'>} program
 */
function goServer(name, version, program) {
  const key = `${name}-${version}`;
  return {
    install: () => once(key, (folder) => goProgram(folder, { name, ...program })),
    isInstalled: () => existsSync(installed(key)),
  };
}

function corednsSource() {
  const plugins = corednsPlugins.map((name) => `\t_ "github.com/coredns/coredns/plugin/${name}"`);
  const imports = ['\t"github.com/coredns/coredns/coremain"', ...plugins].join('\n');
  return `package main\n\nimport (\n${imports}\n)\n\nfunc main() { coremain.Run() }\n`;
}

/** @param {string} version @param {readonly string[]} libraries that it needs at run time, and does not ask for */
function zookeeperServer(version, libraries) {
  const key = `zookeeper-${version}`;
  return {
    install: () =>
      once(key, (folder) => mavenLibraries(folder, [`org.apache.zookeeper:zookeeper:${version}`, ...libraries])),
    isInstalled: () => existsSync(installed(key)) && hasCommand('java'),
    /** @param {Place} place @param {ServerOptions} options */
    prepare: async ({ port, folder }, { args = [], tls, member }) => {
      const data = join(folder, 'data');
      const lines = [
        'tickTime=500',
        'minSessionTimeout=1000',
        'maxSessionTimeout=60000',
        'maxClientCnxns=0',
        `dataDir=${data}`,
        'admin.enableServer=false',
        '4lw.commands.whitelist=ruok,srvr,dump,cons,wchc',
        ...(tls ? zookeeperTls(port, folder, tls) : [`clientPort=${port}`, `clientPortAddress=${host}`]),
        ...args,
      ];
      writeFileSync(join(folder, 'zoo.cfg'), `${lines.join('\n')}\n`);
      mkdirSync(data, { recursive: true });
      if (member !== undefined) writeFileSync(join(data, 'myid'), String(member));
    },
    /** @param {Place} place @param {ServerOptions} options */
    processes: ({ port, folder }, { tls }) => [
      {
        name: 'zookeeper',
        command: 'java',
        args: [
          '-Xms32m',
          '-Xmx192m',
          '-XX:+UseSerialGC',
          '-XX:TieredStopAtLevel=1',
          '-Dzookeeper.forceSync=no',
          '-cp',
          installed(key, 'lib', '*'),
          'org.apache.zookeeper.server.quorum.QuorumPeerMain',
          join(folder, 'zoo.cfg'),
        ],
        // It answers "imok" before it serves.
        isReady: () => answersText(port, 'srvr', /^Mode: (?:standalone|leader|follower)/m, tls),
      },
    ],
  };
}

/** @param {number} port @param {string} folder @param {TlsFiles} tls */
function zookeeperTls(port, folder, { certFile, keyFile, caFile, asksClients = false }) {
  const keyStore = join(folder, 'server.pem');
  writeFileSync(keyStore, readFileSync(keyFile, 'utf8') + readFileSync(certFile, 'utf8'));
  const trustStore = join(folder, 'ca.pem');
  writeFileSync(trustStore, readFileSync(caFile));
  return [
    `secureClientPort=${port}`,
    `secureClientPortAddress=${host}`,
    'serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory',
    `ssl.keyStore.location=${keyStore}`,
    `ssl.trustStore.location=${trustStore}`,
    `ssl.clientAuth=${asksClients ? 'need' : 'none'}`,
  ];
}

/** @param {number} port @param {TlsFiles | undefined} tls */
function redisPort(port, tls) {
  if (!tls) return ['--port', String(port)];
  const { certFile, keyFile, caFile, asksClients = false } = tls;
  const files = ['--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', caFile];
  return ['--port', '0', '--tls-port', String(port), ...files, '--tls-auth-clients', asksClients ? 'yes' : 'no'];
}

/** @param {string} summary @param {boolean} [always] it has JetStream also if it is not persistent */
function natsServer(summary, always = false) {
  return {
    summary,
    ...goServer('nats-server', natsVersion, {
      source: 'github.com/nats-io/nats-server/v2',
      modules: [`github.com/nats-io/nats-server/v2@${natsVersion}`],
    }),
    ports: ['monitor', 'cluster'],
    /** @param {Place} place @param {ServerOptions} options */
    processes: ({ port, folder, portOf }, { persistent = always, tls, join: joined, args = [] }) => {
      const monitor = portOf('monitor');
      const cluster = ['--cluster_name', 'test', '--cluster', `nats://${host}:${portOf('cluster')}`];
      const routes = joined === undefined ? [] : ['--routes', `nats://${joined}`];
      return [
        {
          name: 'nats',
          command: installed(`nats-server-${natsVersion}`, 'nats-server'),
          args: [
            '--addr',
            host,
            '--port',
            String(port),
            '--http_port',
            String(monitor),
            ...(persistent ? ['--jetstream', '--store_dir', join(folder, 'data')] : [...cluster, ...routes]),
            ...natsTls(tls),
            ...args,
          ],
          isReady: () => answersHttp(`http://${host}:${monitor}/healthz`, /"status":\s*"ok"/),
        },
      ];
    },
    /** @param {Place} place */
    details: ({ portOf }) => ({ monitor: `${host}:${portOf('monitor')}`, cluster: `${host}:${portOf('cluster')}` }),
  };
}

/** @param {TlsFiles | undefined} tls */
function natsTls(tls) {
  if (!tls) return [];
  const files = ['--tls', '--tlscert', tls.certFile, '--tlskey', tls.keyFile, '--tlscacert', tls.caFile];
  return tls.asksClients === true ? [...files, '--tlsverify'] : files;
}
