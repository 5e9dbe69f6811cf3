// Message brokers that tests and developers can start.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { run } from './cleanup.js';
import { installDebian } from './debian.js';
import { hasCommand, installed, mavenLibraries, once } from './install.js';
import { answersText, host } from './probes.js';

/**
 * @typedef {import('./definitions.js').ServerDefinition} ServerDefinition
 * @typedef {import('./definitions.js').ServerOptions} ServerOptions
 * @typedef {import('./definitions.js').Place} Place
 * @typedef {import('./definitions.js').TlsFiles} TlsFiles
 */

const kafkaVersion = '4.3.0';
const kafkaFolder = `kafka-with-tools-${kafkaVersion}`;
const rabbitmqFolder = '/usr/lib/rabbitmq/lib';
const mosquittoProgram = '/usr/sbin/mosquitto';
const mosquittoClient = '/usr/bin/mosquitto_sub';

// The beginnings of a conversation, by which a server says that it serves.
const amqpHeader = Buffer.from('AMQP\0\0\x09\x01', 'latin1');
const epmdNames = Buffer.from('\0\x01n', 'latin1');
// CONNECT of MQTT 3.1.1 with a clean session. A refusal is an answer as well.
const mqttConnect = Buffer.from('\x10\x11\0\x04MQTT\x04\x02\0\x0a\0\x05probe', 'latin1');

/** @type {Readonly<Record<'rabbitmq' | 'kafka' | 'mosquitto', ServerDefinition>>} */
export const brokers = {
  rabbitmq: {
    summary: 'RabbitMQ, of Debian, with a port mapper of its own; the user "guest" has the password "guest"',
    install: () => unlessThere(hasRabbitmq, 'rabbitmq-server'),
    isInstalled: hasRabbitmq,
    ports: ['epmd', 'distribution', 'tools'],
    prepare: async ({ port, folder }, { tls, credentials, args = [] }) => {
      const lines = [
        ...(tls ? rabbitmqTls(port, tls) : [`listeners.tcp.default = ${host}:${port}`]),
        'loopback_users = none',
        'log.console = true',
        'log.file = false',
        ...(credentials ? [`default_user = ${credentials.username}`, `default_pass = ${credentials.password}`] : []),
        ...args,
      ];
      writeFileSync(join(folder, 'rabbitmq.conf'), `${lines.join('\n')}\n`);
      writeFileSync(join(folder, 'plugins'), '[].\n');
    },
    processes: (place, { tls }) => [
      // RabbitMQ starts one that outlives it, unless there is one.
      {
        name: 'epmd',
        command: 'epmd',
        args: [],
        env: rabbitmqEnv(place),
        isReady: () => answersText(place.portOf('epmd'), epmdNames, /^[^]{4}/),
      },
      {
        name: 'rabbitmq',
        command: join(rabbitmqPrograms(), 'rabbitmq-server'),
        args: [],
        env: rabbitmqEnv(place),
        isReady: () => answersText(place.port, amqpHeader, /RabbitMQ/, tls),
      },
    ],
    tools: (place, _options, name) => ({
      command: join(rabbitmqPrograms(), name),
      args: [],
      env: rabbitmqEnv(place),
    }),
  },
  kafka: {
    summary: 'Kafka, of its Maven artifacts: a broker that is its own controller',
    install: () =>
      once(kafkaFolder, (folder) =>
        mavenLibraries(folder, [
          `org.apache.kafka:kafka_2.13:${kafkaVersion}`,
          `org.apache.kafka:kafka-tools:${kafkaVersion}`,
          'org.slf4j:slf4j-simple:1.7.36',
        ]),
      ),
    isInstalled: () => existsSync(installed(kafkaFolder)) && hasCommand('java'),
    ports: ['controller', 'internal'],
    prepare: prepareKafka,
    processes: ({ folder }) => [
      {
        name: 'kafka',
        command: 'java',
        args: [
          ...kafkaJava,
          '-Dorg.slf4j.simpleLogger.log.kafka.server=info',
          'kafka.Kafka',
          join(folder, 'server.properties'),
        ],
        // It takes connections before it knows its topics.
        isReady: async (logged) => logged().includes('Kafka Server started'),
      },
    ],
    details: ({ folder, portOf }) => ({
      clientFile: join(folder, 'client.properties'),
      internal: `${host}:${portOf('internal')}`,
    }),
    tools: (_place, _options, name) => ({ command: 'java', args: [...kafkaJava, name] }),
  },
  mosquitto: {
    summary: 'Mosquitto, of Debian: MQTT 3.1.1 and 5; a persistent one saves sessions and queues at every change',
    install: () => unlessThere(hasMosquitto, 'mosquitto', 'mosquitto-clients'),
    isInstalled: hasMosquitto,
    prepare: async ({ port, folder }, { tls, persistent = false, credentials, args = [] }) => {
      const passwords = join(folder, 'passwords');
      if (credentials) {
        const { username, password } = credentials;
        await run('mosquitto_passwd', ['-b', '-c', passwords, username, password], folder);
      }
      const lines = [
        `listener ${port} ${host}`,
        ...(tls ? mosquittoTls(tls) : []),
        // Started by root it becomes a user who may not read the folder, unless told.
        'user root',
        ...(credentials ? ['allow_anonymous false', `password_file ${passwords}`] : ['allow_anonymous true']),
        ...(persistent
          ? [
              'persistence true',
              `persistence_location ${folder}/`,
              'autosave_on_changes true',
              'autosave_interval 1',
              'max_queued_messages 0',
            ]
          : ['persistence false']),
        ...args,
      ];
      writeFileSync(join(folder, 'mosquitto.conf'), `${lines.join('\n')}\n`);
    },
    processes: ({ port, folder }, { tls }) => [
      {
        name: 'mosquitto',
        command: mosquittoProgram,
        args: ['-c', join(folder, 'mosquitto.conf')],
        isReady: () => answersText(port, mqttConnect, /^ [^]{3}/, tls),
      },
    ],
    tools: ({ port }, { tls, credentials }, name) => {
      const files = tls ? ['--cafile', tls.caFile, '--insecure'] : [];
      const user = credentials ? ['-u', credentials.username, '-P', credentials.password] : [];
      const isClient = name !== 'mosquitto_passwd';
      return { command: name, args: isClient ? ['-h', host, '-p', String(port), ...files, ...user] : [] };
    },
  },
};

/** @param {() => boolean} isThere @param {...string} packages of Debian */
async function unlessThere(isThere, ...packages) {
  if (!isThere()) await installDebian(packages);
}

function hasRabbitmq() {
  return existsSync(rabbitmqFolder) && hasCommand('epmd');
}

function hasMosquitto() {
  return existsSync(mosquittoProgram) && existsSync(mosquittoClient);
}

/** The folder of its programs: those on the PATH are wrappers that become another user. */
function rabbitmqPrograms() {
  const version = readdirSync(rabbitmqFolder).find((name) => name.startsWith('rabbitmq_server-'));
  if (version === undefined) throw new Error(`there is no RabbitMQ in ${rabbitmqFolder}`);
  return join(rabbitmqFolder, version, 'sbin');
}

/**
 * By these the server, its tools and its port mapper find each other.
 * @param {Place} place
 */
function rabbitmqEnv({ folder, portOf }) {
  const tools = portOf('tools');
  return {
    HOME: folder,
    RABBITMQ_NODENAME: 'test@localhost',
    RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq'),
    RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    RABBITMQ_PID_FILE: join(folder, 'rabbitmq.pid'),
    RABBITMQ_DIST_PORT: String(portOf('distribution')),
    RABBITMQ_CTL_DIST_PORT_MIN: String(tools),
    RABBITMQ_CTL_DIST_PORT_MAX: String(tools + 10),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1} -mnesia core_dir false',
    ERL_EPMD_ADDRESS: host,
    ERL_EPMD_PORT: String(portOf('epmd')),
  };
}

/** @param {number} port @param {TlsFiles} tls */
function rabbitmqTls(port, { certFile, keyFile, caFile, asksClients = false }) {
  return [
    'listeners.tcp = none',
    `listeners.ssl.default = ${host}:${port}`,
    `ssl_options.cacertfile = ${caFile}`,
    `ssl_options.certfile = ${certFile}`,
    `ssl_options.keyfile = ${keyFile}`,
    `ssl_options.verify = ${asksClients ? 'verify_peer' : 'verify_none'}`,
    `ssl_options.fail_if_no_peer_cert = ${asksClients}`,
  ];
}

const kafkaJava = [
  '-Xms64m',
  '-Xmx384m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Xshare:auto',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-cp',
  installed(kafkaFolder, 'lib', '*'),
];

/** @param {Place} place @param {ServerOptions} options */
async function prepareKafka({ port, folder, portOf }, { tls, credentials, advertised, args = [] }) {
  const settings = join(folder, 'server.properties');
  const controller = `${host}:${portOf('controller')}`;
  const internal = `INTERNAL://${host}:${portOf('internal')}`;
  const protocol = `${credentials ? 'SASL_' : ''}${tls ? 'SSL' : 'PLAINTEXT'}`;
  // There is no other broker to keep copies.
  const topics = ['offsets.topic', 'transaction.state.log', 'share.coordinator.state.topic'];
  const lines = [
    'process.roles=broker,controller',
    'node.id=1',
    `controller.quorum.voters=1@${controller}`,
    `listeners=CLIENTS://${host}:${port},${internal},CONTROLLER://${controller}`,
    `advertised.listeners=CLIENTS://${advertised ?? `${host}:${port}`},${internal}`,
    'controller.listener.names=CONTROLLER',
    'inter.broker.listener.name=INTERNAL',
    `listener.security.protocol.map=CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,CLIENTS:${protocol}`,
    `log.dirs=${join(folder, 'data')}`,
    ...topics.flatMap((name) => [`${name}.num.partitions=1`, `${name}.replication.factor=1`]),
    'transaction.state.log.min.isr=1',
    'share.coordinator.state.topic.min.isr=1',
    // A new group waits for further members.
    'group.initial.rebalance.delay.ms=0',
    ...(tls ? kafkaTls(folder, tls) : []),
    ...(credentials ? kafkaCredentials(credentials) : []),
    ...args,
  ];
  writeFileSync(settings, `${lines.join('\n')}\n`);
  writeFileSync(join(folder, 'client.properties'), `${kafkaClient(protocol, tls, credentials).join('\n')}\n`);
  if (existsSync(join(folder, 'data', 'meta.properties'))) return;
  const id = Buffer.from('tenon-test-kafka').toString('base64url');
  const scram = credentials
    ? ['--add-scram', `SCRAM-SHA-256=[name="${credentials.username}",password="${credentials.password}"]`]
    : [];
  await run('java', [...kafkaJava, 'kafka.tools.StorageTool', 'format', '-t', id, '-c', settings, ...scram], folder);
}

/** @param {string} folder @param {TlsFiles} tls */
function kafkaTls(folder, { certFile, keyFile, caFile, asksClients = false }) {
  const keyStore = join(folder, 'server.pem');
  writeFileSync(keyStore, readFileSync(keyFile, 'utf8') + readFileSync(certFile, 'utf8'));
  return [
    'ssl.keystore.type=PEM',
    `ssl.keystore.location=${keyStore}`,
    'ssl.truststore.type=PEM',
    `ssl.truststore.location=${caFile}`,
    `ssl.client.auth=${asksClients ? 'required' : 'none'}`,
  ];
}

/**
 * Settings of Kafka's own tools.
 * @param {string} protocol @param {TlsFiles | undefined} tls @param {ServerOptions['credentials']} credentials
 */
function kafkaClient(protocol, tls, credentials) {
  const module = 'org.apache.kafka.common.security.scram.ScramLoginModule';
  return [
    `security.protocol=${protocol}`,
    ...(tls ? ['ssl.truststore.type=PEM', `ssl.truststore.location=${tls.caFile}`] : []),
    ...(credentials
      ? [
          'sasl.mechanism=SCRAM-SHA-256',
          `sasl.jaas.config=${module} required username="${credentials.username}" password="${credentials.password}";`,
        ]
      : []),
  ];
}

/** The user by PLAIN as well as by SCRAM. @param {{ username: string, password: string }} credentials */
function kafkaCredentials({ username, password }) {
  const security = 'org.apache.kafka.common.security';
  const listener = 'listener.name.clients';
  return [
    `${listener}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256`,
    `${listener}.plain.sasl.jaas.config=${security}.plain.PlainLoginModule required user_${username}="${password}";`,
    `${listener}.scram-sha-256.sasl.jaas.config=${security}.scram.ScramLoginModule required;`,
  ];
}

/** @param {TlsFiles} tls */
function mosquittoTls({ certFile, keyFile, caFile, asksClients = false }) {
  const files = [`certfile ${certFile}`, `keyfile ${keyFile}`, `cafile ${caFile}`];
  return asksClients ? [...files, 'require_certificate true'] : files;
}
