import type { ClientOptions } from '../client/client.ts';
import type { MessageLimits } from '../codec/codec.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { didYouMean } from '../internal/suggest.ts';
import { type LogLevel, logLevels } from '../logger/logger.ts';
import type { ServerOptions } from '../server/server.ts';
import type { ServiceOptions } from '../service/service.ts';
import { dialects } from '../transport/transport.ts';
import type { ClientAuth, ClientTlsOptions, ServerTlsOptions } from '../transport/tls.ts';
import { type BackendRoom, backendNames, type Backends } from './backends.ts';
import { type Parsed, parseVariable, type Variable } from './internal/variables.ts';

/** The built-in profiles. */
export const profileNames = ['test', 'dev', 'local', 'prod'] as const;
/** One of {@link profileNames}. */
export type ProfileName = (typeof profileNames)[number];

/** A backend, and where it is. */
export interface BackendChoice {
  readonly name: string;
  /** `host:port`, several by commas, or what stood behind `name://`. */
  readonly address?: string | undefined;
}

/** The environment, read: what it says, and what the built-in profile says where it is silent. */
export interface Config {
  readonly profile: ProfileName;
  /** The variables that the environment said; of the others the profile speaks. */
  readonly stated: readonly string[];
  readonly transport: string;
  readonly codec: string;
  /** What one message may cost. */
  readonly messages: MessageLimits;
  readonly registry: BackendChoice;
  readonly selector: string;
  readonly broker: BackendChoice;
  readonly log: { readonly level: LogLevel; readonly format: 'text' | 'json' };
  /** Where mDNS speaks. */
  readonly mdns: { readonly interface?: string | undefined; readonly port?: number | undefined };
  /** TLS of transports that open ports; `undefined` where they speak in the clear. */
  readonly tls: { readonly client: ClientTlsOptions; readonly server: ServerTlsOptions } | undefined;
  readonly client: ClientOptions;
  /** What the profile says of servers: weaker than what `@Service` says. */
  readonly server: ServerOptions;
  /** What the profile says of reflection: weaker than what `@Service` says. */
  readonly reflection: boolean;
  /** What the environment says of services, stronger than what `@Service` says; and what the profile says of them, weaker than that. */
  readonly service: ServiceOptions;
}

const choice = { kind: 'choice' } as const;
const text = { kind: 'text' } as const;
const boolean = { kind: 'boolean' } as const;

/**
 * Every variable that is read. `fallback` is the value where the environment is silent, for all profiles or by profile; a variable without one
 * leaves the matter to who it concerns, as `describes` says.
 */
export const variables = [
  {
    name: 'TENON_PROFILE',
    describes: 'The profile that fills in what is not said below.',
    ...choice,
    choices: () => profileNames,
    fallback: 'dev',
  },
  {
    name: 'TENON_TRANSPORT',
    describes:
      'How calls travel. grpc-js is grpc by the library of that name; memory stays in the process and opens no port; tcp and unix are for callers that run tenon too.',
    ...choice,
    choices: () => backendNames('transport'),
    fallback: { test: 'memory', dev: 'grpc', local: 'grpc', prod: 'grpc' },
  },
  {
    name: 'TENON_CODEC',
    describes:
      'How messages are written when client and method leave it open. proto is for methods with a .proto; others travel as JSON.',
    ...choice,
    choices: () => backendNames('codec'),
    fallback: 'proto',
  },
  {
    name: 'TENON_REGISTRY',
    describes: 'Where services find each other. May carry the address: redis://127.0.0.1:6379',
    kind: 'backend',
    choices: () => backendNames('registry'),
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
    choices: () => backendNames('selector'),
    fallback: 'random',
  },
  {
    name: 'TENON_BROKER',
    describes: 'Who carries events. May carry the address: redis-streams://127.0.0.1:6379',
    kind: 'backend',
    choices: () => backendNames('broker'),
    fallback: { test: 'memory', dev: 'memory', local: 'memory', prod: 'redis-streams' },
  },
  {
    name: 'TENON_BROKER_ADDRESS',
    describes: "host:port of the broker. Default: the backend's own.",
    ...text,
    example: '127.0.0.1:6379',
  },
  {
    name: 'TENON_MDNS_INTERFACE',
    describes: 'Address of the network interface that mDNS speaks on. Default: what the system chooses.',
    ...text,
    example: '127.0.0.1',
  },
  {
    name: 'TENON_MDNS_PORT',
    describes: 'Port of mDNS. Default: 5353.',
    kind: 'integer',
    unit: '',
    min: 1,
    max: 65_535,
    example: '5353',
  },
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
      'Address that others are told to call. Default: where it listens; for a wildcard, the first private address of this machine.',
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
    name: 'TENON_REFLECTION',
    describes:
      'Whether grpc.reflection is served, v1 and v1alpha: it tells every caller what can be called. Stronger than what @Service says.',
    ...boolean,
    fallback: { test: 'false', dev: 'true', local: 'true', prod: 'false' },
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
    describes: 'How deep a message may be nested. Default: 100 levels, 1000 for JSON without a .proto.',
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
] as const satisfies readonly Variable[];

type VariableName = (typeof variables)[number]['name'];

const prefix = 'TENON_';
// What the tests of tenon itself are told: nobody's application reads it.
const foreignPrefix = 'TENON_TEST_';

/**
 * Reads the environment. A variable that is not set, or set to nothing, takes the value that the profile says; `profile` is stronger than `TENON_PROFILE`.
 *
 * Throws INVALID_ARGUMENT (`config.invalid`) with everything that is wrong at once: values that do not exist or do not fit, and variables
 * in `TENON_` that nobody reads, for a misspelt one would otherwise change nothing, in silence. `TENON_TEST_…` is left alone.
 */
export function readConfig(
  env: Readonly<Record<string, string | undefined>>,
  profile?: string,
  backends: Backends = {},
): Config {
  const problems: string[] = takenNames(backends);
  const said = new Map<string, Parsed>();
  for (const variable of variables) {
    const given = env[variable.name];
    if (given === undefined || given === '') continue;
    const parsed = parseVariable(withOwn(variable, backends), given);
    if ('problem' in parsed) problems.push(parsed.problem);
    else said.set(variable.name, parsed.value);
  }
  problems.push(...unknownVariables(env), ...doubleAddresses(said));
  if (profile !== undefined) {
    const parsed = parseVariable({ ...variables[0], name: 'the profile' }, profile);
    if ('problem' in parsed) problems.push(parsed.problem);
    else said.set('TENON_PROFILE', profile);
  }
  if (problems.length > 0) throw invalid(problems);
  return buildConfig(said);
}

const rooms: Readonly<Record<string, BackendRoom>> = {
  TENON_TRANSPORT: 'transport',
  TENON_CODEC: 'codec',
  TENON_REGISTRY: 'registry',
  TENON_SELECTOR: 'selector',
  TENON_BROKER: 'broker',
};

/** The variable, with the application's own implementations among its choices. */
function withOwn(variable: Variable, backends: Backends): Variable {
  const room = rooms[variable.name];
  return room === undefined ? variable : { ...variable, choices: () => backendNames(room, backends) };
}

function takenNames(backends: Backends): string[] {
  return Object.values(rooms).flatMap((room) =>
    Object.keys(backends[room] ?? {})
      .filter((name) => backendNames(room).includes(name) || !/^[\w.-]+$/.test(name))
      .map((name) => `backends.${room}: "${name}" is the name of one of tenon's own, or no name: choose another`),
  );
}

// Of these the profile speaks where the environment is silent; of all others of a service nobody does.
const fallenBack: Readonly<Partial<Record<keyof ServiceOptions, VariableName>>> = {
  registerTtlMs: 'TENON_REGISTER_TTL_MS',
  exposeErrors: 'TENON_EXPOSE_ERRORS',
  suggest: 'TENON_SUGGEST',
  drain: 'TENON_DRAIN',
  lameDuckMs: 'TENON_LAME_DUCK_MS',
  drainTimeoutMs: 'TENON_DRAIN_TIMEOUT_MS',
  stopTimeoutMs: 'TENON_STOP_TIMEOUT_MS',
  healthFollowsRegistry: 'TENON_HEALTH_FOLLOWS_REGISTRY',
};

/** What variables say of services, without what the profile says where they are silent. */
export function statedOfServices({ service, stated }: Config): ServiceOptions {
  return Object.fromEntries(
    Object.entries(service).filter(([field]) => {
      const variable = fallenBack[field as keyof ServiceOptions];
      return variable === undefined || stated.includes(variable);
    }),
  );
}

/** The text of `.env.example`: every variable with what it does, its values and its defaults, each commented out. */
export function envExample(): string {
  const header =
    '# Every environment variable that tenon reads. What is not set, or set to nothing, has its default.\n' +
    '# Made by `npm run env`; do not edit.\n';
  return `${header}${variables.map((variable) => `\n${exampleOf(variable)}`).join('')}`;
}

function exampleOf(variable: Variable): string {
  const lines = [`# ${variable.describes}`];
  const values = variable.kind === 'boolean' ? ['true', 'false'] : variable.choices?.();
  if (values) lines.push(`# One of: ${values.join(', ')}`);
  if (variable.unit) lines.push(`# In ${variable.unit === 'ms' ? 'milliseconds' : variable.unit}.`);
  if (typeof variable.fallback === 'object') {
    const byProfile = profileNames.map((name) => `${name} ${fallbackOf(variable, name)}`);
    lines.push(`# By profile: ${byProfile.join(', ')}`);
  }
  lines.push(`# ${variable.name}=${fallbackOf(variable, 'dev') ?? variable.example ?? ''}`);
  return `${lines.join('\n')}\n`;
}

function fallbackOf(variable: Variable, profile: ProfileName): string | undefined {
  return typeof variable.fallback === 'object' ? variable.fallback[profile] : variable.fallback;
}

function buildConfig(said: ReadonlyMap<string, Parsed>): Config {
  const profile = (said.get('TENON_PROFILE') ?? 'dev') as ProfileName;
  const explicit = <T extends Parsed>(name: VariableName): T | undefined => said.get(name) as T | undefined;
  const value = <T extends Parsed>(name: VariableName): T => {
    if (said.has(name)) return said.get(name) as T;
    const variable: Variable = variables.find((one) => one.name === name) as Variable;
    const parsed = parseVariable(variable, fallbackOf(variable, profile) ?? '');
    return ('value' in parsed ? parsed.value : undefined) as T;
  };
  const backend = (name: 'REGISTRY' | 'BROKER'): BackendChoice => {
    const chosen = value<BackendChoice>(`TENON_${name}`);
    return { name: chosen.name, address: chosen.address ?? explicit<string>(`TENON_${name}_ADDRESS`) };
  };
  const limits = {
    maxReceiveBytes: explicit<number>('TENON_MAX_RECEIVE_BYTES'),
    maxSendBytes: explicit<number>('TENON_MAX_SEND_BYTES'),
  };
  return {
    profile,
    stated: [...said.keys()],
    transport: value('TENON_TRANSPORT'),
    codec: value('TENON_CODEC'),
    messages: { maxElements: value('TENON_MAX_ELEMENTS'), maxDepth: explicit('TENON_MAX_DEPTH') },
    registry: backend('REGISTRY'),
    selector: value('TENON_SELECTOR'),
    broker: backend('BROKER'),
    log: { level: value('TENON_LOG_LEVEL'), format: value('TENON_LOG_FORMAT') },
    mdns: { interface: explicit('TENON_MDNS_INTERFACE'), port: explicit('TENON_MDNS_PORT') },
    tls: tlsOf(explicit, value('TENON_TLS_CLIENT_AUTH')),
    client: {
      dialect: value('TENON_CLIENT_DIALECT'),
      timeoutMs: value('TENON_CLIENT_TIMEOUT_MS'),
      serviceConfig: explicit('TENON_CLIENT_SERVICE_CONFIG'),
      maxReceiveBytes: value('TENON_MAX_RECEIVE_BYTES'),
      maxSendBytes: limits.maxSendBytes,
      compress: value('TENON_CLIENT_COMPRESS'),
      insecureCredentials: value('TENON_CLIENT_INSECURE_CREDENTIALS'),
    },
    server: {
      address: value('TENON_SERVER_ADDRESS'),
      dialect: value('TENON_SERVER_DIALECT'),
      maxReceiveBytes: value('TENON_MAX_RECEIVE_BYTES'),
      maxSendBytes: limits.maxSendBytes,
      compress: value('TENON_SERVER_COMPRESS'),
    },
    reflection: value('TENON_REFLECTION'),
    service: {
      ...limits,
      name: explicit('TENON_SERVER_NAME'),
      id: explicit('TENON_SERVER_ID'),
      address: explicit('TENON_SERVER_ADDRESS'),
      advertise: explicit('TENON_SERVER_ADVERTISE'),
      dialect: explicit('TENON_SERVER_DIALECT'),
      metadata: explicit('TENON_SERVER_METADATA'),
      registerTtlMs: value('TENON_REGISTER_TTL_MS'),
      registerIntervalMs: explicit('TENON_REGISTER_INTERVAL_MS'),
      exposeErrors: value('TENON_EXPOSE_ERRORS'),
      suggest: value('TENON_SUGGEST'),
      drain: value('TENON_DRAIN'),
      lameDuckMs: value('TENON_LAME_DUCK_MS'),
      drainTimeoutMs: value('TENON_DRAIN_TIMEOUT_MS'),
      stopTimeoutMs: value('TENON_STOP_TIMEOUT_MS'),
      health: explicit('TENON_HEALTH'),
      healthFollowsRegistry: value('TENON_HEALTH_FOLLOWS_REGISTRY'),
      reflection: explicit('TENON_REFLECTION'),
    },
  };
}

function tlsOf(
  explicit: <T extends Parsed>(name: VariableName) => T | undefined,
  clientAuth: ClientAuth,
): Config['tls'] {
  const files = {
    certFile: explicit<string>('TENON_TLS_CERT_FILE'),
    keyFile: explicit<string>('TENON_TLS_KEY_FILE'),
    caFile: explicit<string>('TENON_TLS_CA_FILE'),
  };
  const serverName = explicit<string>('TENON_TLS_SERVER_NAME');
  const isMeant = [...Object.values(files), serverName].some((one) => one !== undefined) || clientAuth !== 'none';
  if (!(explicit<boolean>('TENON_TLS') ?? isMeant)) return undefined;
  return { client: { ...files, serverName }, server: { ...files, clientAuth } };
}

function unknownVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = variables.map((variable): string => variable.name);
  return Object.keys(env)
    .filter((name) => name.toUpperCase().startsWith(prefix) && !name.startsWith(foreignPrefix) && !known.includes(name))
    .map((name) => {
      const suggestion = didYouMean(name, known);
      return `${name}: there is no such variable.${suggestion === '' ? ' Unset it; .env.example lists those that are read.' : suggestion}`;
    });
}

function doubleAddresses(said: ReadonlyMap<string, Parsed>): string[] {
  return ['TENON_REGISTRY', 'TENON_BROKER'].flatMap((name) => {
    const inUrl = (said.get(name) as BackendChoice | undefined)?.address;
    const apart = said.get(`${name}_ADDRESS`);
    return inUrl === undefined || apart === undefined || inUrl === apart
      ? []
      : [`${name}_ADDRESS: ${name} already has an address, and another one: say it once`];
  });
}

function invalid(problems: readonly string[]): TenonError {
  const message =
    problems.length === 1
      ? `the configuration is wrong: ${problems.join('')}`
      : `the configuration has ${problems.length} problems:\n${problems.map((problem) => `- ${problem}`).join('\n')}`;
  return new TenonError({ code: Code.InvalidArgument, reason: 'config.invalid', message });
}
