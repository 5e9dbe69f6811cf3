import { logLevels } from '../../logger/logger.ts';
import { dialects } from '../../go-micro/go-micro.ts';
import type { BackendRoom } from './backend-row.ts';
import { backendRows, backendVariables } from './backend-table.ts';
import { securityVariables } from './security-variables.ts';
import type { Variable } from './variables.ts';

/** Names of the built-in profiles. */
export const profileNames = ['test', 'dev', 'local', 'prod'] as const;
/** One of {@link profileNames}. */
export type ProfileName = (typeof profileNames)[number];

const namesOf = (room: BackendRoom): readonly string[] => backendRows[room].map(({ name }) => name);

const choice = { kind: 'choice' } as const;
const text = { kind: 'text' } as const;
const boolean = { kind: 'boolean' } as const;

/** Returns the list with a type that knows the names of its variables, and nothing else of them. */
function listed<const Name extends string>(list: NonEmpty<Name>): NonEmpty<Name> {
  return list;
}
type Named<Name> = Variable & { readonly name: Name };
type NonEmpty<Name> = readonly [Named<Name>, ...Named<Name>[]];

const choices = listed([
  {
    name: 'TENON_PROFILE',
    describes: 'The profile that fills in what is not said below.',
    ...choice,
    choices: () => profileNames,
    fallback: 'dev',
  },
  {
    name: 'TENON_TRANSPORT',
    describes: 'How calls travel. One with a server may carry its address: nats://127.0.0.1:4222',
    kind: 'backend',
    choices: () => namesOf('transport'),
    fallback: { test: 'memory', dev: 'grpc', local: 'grpc', prod: 'grpc' },
  },
  {
    name: 'TENON_TRANSPORT_ADDRESS',
    describes: "host:port of the server of the transport, where it has one. Default: the backend's own.",
    ...text,
    example: '127.0.0.1:4222',
  },
  {
    name: 'TENON_CODEC',
    describes:
      'How messages are written when client and method leave it open. proto is for methods with a .proto; others travel as JSON.',
    ...choice,
    choices: () => namesOf('codec'),
    fallback: 'proto',
  },
  {
    name: 'TENON_REGISTRY',
    describes: 'Where services find each other. May carry the address: redis://127.0.0.1:6379',
    kind: 'backend',
    choices: () => namesOf('registry'),
    fallback: { test: 'memory', dev: 'mdns', local: 'memory', prod: 'redis' },
  },
  {
    name: 'TENON_REGISTRY_ADDRESS',
    describes: "host:port of the registry. Default: the backend's own.",
    ...text,
    example: '127.0.0.1:6379',
  },
  {
    name: 'TENON_SELECTOR',
    describes: 'How a node is chosen among those that serve.',
    ...choice,
    choices: () => namesOf('selector'),
    fallback: 'peak-ewma',
  },
  {
    name: 'TENON_ZONE',
    describes:
      'Zone of this process. Calls go to nodes that have the same zone in their metadata (TENON_SERVER_METADATA), as far as these suffice. Default: zones make no difference.',
    ...text,
    example: 'a',
  },
  {
    name: 'TENON_BROKER',
    describes: 'Who carries events. May carry the address: redis-streams://127.0.0.1:6379',
    kind: 'backend',
    choices: () => namesOf('broker'),
    fallback: { test: 'memory', dev: 'memory', local: 'memory', prod: 'redis-streams' },
  },
  {
    name: 'TENON_BROKER_ADDRESS',
    describes: "host:port of the broker. Default: the backend's own.",
    ...text,
    example: '127.0.0.1:6379',
  },
]);

const others = listed([
  {
    name: 'TENON_SERVER_ADDRESS',
    describes:
      'Where to listen, host:port, or over unix the path of a socket file; port 0 for any free one. Stronger than what @Service says.',
    ...text,
    fallback: { test: '127.0.0.1:0', dev: '127.0.0.1:0', local: '127.0.0.1:0', prod: '0.0.0.0:0' },
  },
  {
    name: 'TENON_SERVER_ADVERTISE',
    describes:
      'Address that others are told to call: host:port, a host (the port is the one that is listened at), or a network of this machine, as 10.1.0.0/16. Default: where it listens; for a wildcard, the first private address of this machine.',
    ...text,
    example: '10.0.0.7:50051',
  },
  {
    name: 'TENON_SERVER_NAME',
    describes: 'Name in the registry, instead of the one that @Service says: for one service in a process.',
    ...text,
    example: 'greeter',
  },
  { name: 'TENON_SERVER_ID', describes: 'Tail of the node id, <name>-<id>. Default: a UUID.', ...text, example: 'a1' },
  {
    name: 'TENON_SERVER_METADATA',
    describes: 'Goes with the node in the registry: key=value, several by commas.',
    kind: 'pairs',
    example: 'zone=a,rack=7',
  },
  {
    name: 'TENON_TLS',
    describes:
      'Whether calls travel over TLS, of servers and clients. Servers need a certificate and its key then. Default: true if one of those below is set.',
    ...boolean,
    example: 'true',
  },
  {
    name: 'TENON_TLS_CERT_FILE',
    describes:
      'Certificate of this process in PEM, with those of the authorities in between behind it: servers show it, clients where they are asked. Read again when it changes.',
    ...text,
    example: '/etc/tls/tls.crt',
  },
  { name: 'TENON_TLS_KEY_FILE', describes: 'Its private key in PEM.', ...text, example: '/etc/tls/tls.key' },
  {
    name: 'TENON_TLS_CA_FILE',
    describes: 'Certificates of the authorities that are trusted, in PEM. Default: for clients those that Node trusts.',
    ...text,
    example: '/etc/tls/ca.crt',
  },
  {
    name: 'TENON_TLS_CLIENT_AUTH',
    describes: 'Whether servers ask callers for a certificate. request takes callers without one.',
    ...choice,
    choices: () => ['none', 'request', 'require'],
    fallback: 'none',
  },
  {
    name: 'TENON_TLS_SERVER_NAME',
    describes: 'Name that certificates of servers must be for. Default: the host that is called.',
    ...text,
    example: 'greeter.internal',
  },
  {
    name: 'TENON_REGISTER',
    describes:
      'Whether services announce themselves in the registry: false where others do that, as who writes its file.',
    ...boolean,
    fallback: 'true',
  },
  {
    name: 'TENON_REGISTER_TTL_MS',
    describes: 'Lease of the registration: a process that dies is forgotten after this time.',
    kind: 'integer',
    unit: 'ms',
    min: 1,
    fallback: '30000',
  },
  {
    name: 'TENON_REGISTER_INTERVAL_MS',
    describes: 'Time between renewals of the lease. Default: a third of the lease.',
    kind: 'integer',
    unit: 'ms',
    min: 1,
    example: '10000',
  },
  {
    name: 'TENON_REGISTER_WORKER',
    describes:
      'Whether a worker thread renews the lease, where the registry can be used from one: then a process that is busy stays registered, and one that is dead does not.',
    ...boolean,
    fallback: 'true',
  },
  {
    name: 'TENON_REGISTER_BUSY_AFTER_MS',
    describes: 'How late the event loop has to be for the node to be announced as busy: callers prefer others then.',
    kind: 'integer',
    unit: 'ms',
    min: 1,
    fallback: '1000',
  },
  {
    name: 'TENON_REGISTER_BUSY_MS',
    describes:
      'How late the event loop has to be for the node to be deregistered, until it is back. Default: four times the lease.',
    kind: 'integer',
    unit: 'ms',
    min: 1,
    example: '120000',
  },
  { name: 'TENON_DRAIN', describes: 'Whether a stop lets what is in flight finish.', ...boolean, fallback: 'true' },
  {
    name: 'TENON_LAME_DUCK_MS',
    describes: 'Time to serve on after a stop was announced, so that callers can have seen it.',
    kind: 'integer',
    unit: 'ms',
    min: 0,
    fallback: { test: '0', dev: '1000', local: '0', prod: '1000' },
  },
  {
    name: 'TENON_DRAIN_TIMEOUT_MS',
    describes: 'Time for what is in flight to finish; then it is aborted.',
    kind: 'integer',
    unit: 'ms',
    min: 0,
    fallback: '10000',
  },
  {
    name: 'TENON_STOP_TIMEOUT_MS',
    describes:
      'Time for each other step of a stop to end: hooks, @preDestroy, the closing of a backend. Then the stop goes on without it.',
    kind: 'integer',
    unit: 'ms',
    min: 0,
    fallback: '5000',
  },
  {
    name: 'TENON_SERVER_DIALECT',
    describes: "Whether servers answer Go Micro's clients as its own servers do, beside plain gRPC.",
    ...choice,
    choices: () => dialects,
    fallback: 'grpc',
  },
  {
    name: 'TENON_CLIENT_DIALECT',
    describes: "Whether clients call as Go Micro's do. Servers of tenon that they call need the dialect as well.",
    ...choice,
    choices: () => dialects,
    fallback: 'grpc',
  },
  {
    name: 'TENON_HEALTH',
    describes: 'Whether grpc.health.v1.Health is served. Stronger than what @Service says.',
    ...boolean,
    fallback: 'true',
  },
  {
    name: 'TENON_HEALTH_FOLLOWS_REGISTRY',
    describes:
      'Whether a node whose lease in the registry has run out, so that callers cannot find it, is NOT_SERVING.',
    ...boolean,
    fallback: 'true',
  },
  {
    name: 'TENON_HEALTH_FOLLOWS_BROKER',
    describes:
      'Whether a node whose subscriptions do not stand yet, for the broker was away at its start, is NOT_SERVING.',
    ...boolean,
    fallback: 'true',
  },
  {
    name: 'TENON_HEALTH_FOLLOWS_OUTAGES',
    describes: 'Whether a node with subscriptions is NOT_SERVING also during later outages of the broker.',
    ...boolean,
    fallback: 'false',
  },
  {
    name: 'TENON_REQUIRE_BACKENDS',
    describes: 'Whether a broker or a registry that is away fails the start, instead of being tried until it is back.',
    ...boolean,
    fallback: 'false',
  },
  {
    name: 'TENON_REFLECTION',
    describes:
      'Whether grpc.reflection is served, v1 and v1alpha: it tells every caller what can be called. Stronger than what @Service says.',
    ...boolean,
    fallback: { test: 'false', dev: 'true', local: 'true', prod: 'false' },
  },
  {
    name: 'TENON_IN_PROCESS',
    describes: 'Whether services of this process are called without a socket, unless their servers speak TLS.',
    ...boolean,
    fallback: 'false',
  },
  {
    name: 'TENON_CLIENT_TIMEOUT_MS',
    describes: 'Bound of unary calls that name none; 0 for none.',
    kind: 'integer',
    unit: 'ms',
    min: 0,
    fallback: '30000',
  },
  {
    name: 'TENON_CLIENT_INSECURE_CREDENTIALS',
    describes: 'Whether credentials of calls are sent also to other machines in the clear.',
    ...boolean,
    fallback: 'false',
  },
  {
    name: 'TENON_CLIENT_COMPRESS',
    describes: 'Compress what calls send with gzip, on transports that can, to servers that understand it.',
    ...boolean,
    fallback: 'false',
  },
  {
    name: 'TENON_SERVER_COMPRESS',
    describes: 'Compress replies with gzip, on transports that can, to callers that understand it.',
    ...boolean,
    fallback: 'false',
  },
  {
    name: 'TENON_CLIENT_SERVICE_CONFIG',
    describes:
      "Policies per method, in gRPC's own format: time-outs, limits, retries, hedges. JSON, or the path of a file with it. Default: none.",
    kind: 'service-config',
    example: '{"methodConfig":[{"name":[{}],"timeout":"5s"}]}',
  },
  {
    name: 'TENON_MAX_RECEIVE_BYTES',
    describes: 'Largest message accepted, by servers and clients.',
    kind: 'integer',
    unit: 'bytes',
    min: 1,
    fallback: '4194304',
  },
  {
    name: 'TENON_MAX_SEND_BYTES',
    describes: 'Largest message sent, by servers and clients. Default: no limit.',
    kind: 'integer',
    unit: 'bytes',
    min: 1,
    example: '4194304',
  },
  {
    name: 'TENON_MAX_ELEMENTS',
    describes:
      'Most elements of a message that is read: messages in it, items of lists, keys and values of maps. See docs/codec.md.',
    kind: 'integer',
    min: 1,
    fallback: '1048576',
  },
  {
    name: 'TENON_MAX_DEPTH',
    describes: 'How deep a message may be nested. Default: 100 levels, 1000 without a .proto.',
    kind: 'integer',
    min: 1,
    max: 1000,
    example: '100',
  },
  {
    name: 'TENON_EXPOSE_ERRORS',
    describes: 'Send the text of unexpected exceptions to the caller. It may hold secrets.',
    ...boolean,
    fallback: 'false',
  },
  {
    name: 'TENON_SUGGEST',
    describes: 'Name methods of similar names in the answer to an unknown one, on transports that can.',
    ...boolean,
    fallback: 'false',
  },
  {
    name: 'TENON_LOG_LEVEL',
    describes: 'Messages below it are not written.',
    ...choice,
    choices: () => logLevels,
    fallback: { test: 'silent', dev: 'info', local: 'info', prod: 'info' },
  },
  {
    name: 'TENON_LOG_FORMAT',
    describes: 'text for people, json for machines. Logs go to standard error.',
    ...choice,
    choices: () => ['text', 'json'],
    fallback: { test: 'text', dev: 'text', local: 'text', prod: 'json' },
  },
]);

/**
 * All variables that tenon reads. `fallback` is the value if the variable is not set, for all profiles or by profile.
 * Without one the code that takes the value has its own default, as `describes` says.
 */
export const variables: readonly [Variable, ...Variable[]] = [
  ...choices,
  ...securityVariables('transport'),
  ...securityVariables('registry'),
  ...securityVariables('broker'),
  ...backendVariables,
  ...others,
];

/** The name of one of {@link variables}, except those that belong to a backend, or to its connections. */
export type VariableName = (typeof choices | typeof others)[number]['name'];

/** The value of a variable that is not set; `undefined` if the code that takes the value has its own default. */
export function fallbackOf(variable: Variable, profile: ProfileName): string | undefined {
  return typeof variable.fallback === 'object' ? variable.fallback[profile] : variable.fallback;
}
