import type { ClientOptions } from '../client/client.ts';
import type { MessageLimits } from '../codec/codec.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { didYouMean } from '../internal/suggest.ts';
import type { LogLevel } from '../logger/logger.ts';
import type { ServerOptions } from '../server/server.ts';
import type { ServiceOptions } from '../service/service.ts';
import type { ConnectionSecurityOptions } from '../tls/connection.ts';
import type { ClientAuth, ClientTlsOptions, ServerTlsOptions } from '../tls/tls.ts';
import { backendNames, type Backends } from './backends.ts';
import type { AddressedRoom, BackendRoom, BackendSettings } from './internal/backend-row.ts';
import { backendRow, backendRows } from './internal/backend-table.ts';
import { serviceLinksIn } from './internal/service-links.ts';
import { securityOf, tlsSchemeOf } from './internal/security-variables.ts';
import { fallbackOf, profileNames, type ProfileName, type VariableName, variables } from './internal/variable-list.ts';
import { type Parsed, parseVariable, type Variable } from './internal/variables.ts';

/** The backend that was chosen for a registry, a broker or a transport, with its address and settings. */
export interface BackendChoice {
  readonly name: string;
  /** Address of the server: `host:port`, several by commas, or the part behind `name://`. */
  readonly address?: string | undefined;
  /** The values of the backend's own variables, by option name. */
  readonly settings?: BackendSettings | undefined;
  /** TLS and credentials of its connections. */
  readonly security?: ConnectionSecurityOptions | undefined;
}

/** The variables that choose the backends with an address. */
const addressedRooms = {
  transport: 'TENON_TRANSPORT',
  registry: 'TENON_REGISTRY',
  broker: 'TENON_BROKER',
} as const satisfies Readonly<Record<AddressedRoom, VariableName>>;

/** The backend of a room, as it was chosen. */
export function backendChoice(config: Config, room: AddressedRoom): BackendChoice {
  return room === 'transport' ? config.transportServer : config[room];
}

/** The address, TLS, credentials and settings of a backend, as its options take them. */
export function settingsOf({ address, settings, security }: BackendChoice): BackendSettings {
  return { ...settings, ...security, address };
}

/**
 * The configuration of an application: the environment's variables, and the profile's values for all that are not set.
 */
export interface Config {
  readonly profile: ProfileName;
  /** The names of the variables that are set. Values of all others come from the profile. */
  readonly stated: readonly string[];
  readonly transport: string;
  /** The server of the transport, where it has one, and what else was said of it. */
  readonly transportServer: BackendChoice;
  /** True if services of this process are called without a socket. */
  readonly inProcess: boolean;
  readonly codec: string;
  /** Limits of a single message. */
  readonly messages: MessageLimits;
  readonly registry: BackendChoice;
  readonly selector: string;
  /** The zone of this process, for the selector. */
  readonly zone: string | undefined;
  readonly broker: BackendChoice;
  readonly log: { readonly level: LogLevel; readonly format: 'text' | 'json' };
  /** TLS of transports that open ports; `undefined` if they use none. */
  readonly tls: { readonly client: ClientTlsOptions; readonly server: ServerTlsOptions } | undefined;
  readonly client: ClientOptions;
  /** Server options of the profile, weaker than those of `@Service`. */
  readonly server: ServerOptions;
  /** True if the profile serves health; weaker than `@Service`. */
  readonly health: boolean;
  /** True if the profile serves reflection; weaker than `@Service`. */
  readonly reflection: boolean;
  /** Service options: those of variables that are set are stronger than `@Service`, those of the profile weaker. */
  readonly service: ServiceOptions;
}

const prefix = 'TENON_';
// Variables of tenon's own tests, which no application reads.
const foreignPrefix = 'TENON_TEST_';
const linkRemedy =
  '. A Kubernetes Service of that name sets it: rename the Service, or set enableServiceLinks: false in the pod';

/**
 * Reads the configuration from environment variables. A variable that is not set, or empty, takes the profile's value;
 * `profile` is stronger than `TENON_PROFILE`.
 *
 * Throws INVALID_ARGUMENT (`config.invalid`) with all problems at once: invalid values, and variables in `TENON_` that
 * tenon does not read, since a misspelt one would silently change nothing.
 * `TENON_TEST_…` is left alone, and so is what a Kubernetes Service named `tenon` or `tenon-…` sets.
 */
export function readConfig(
  env: Readonly<Record<string, string | undefined>>,
  profile?: string,
  backends: Backends = {},
): Config {
  const problems: string[] = takenBackendNames(backends);
  const said = new Map<string, Parsed>();
  const links = serviceLinksIn(env);
  for (const variable of variables) {
    const given = env[variable.name];
    if (given === undefined || given === '') continue;
    const parsed = parseVariable(withOwnBackends(variable, backends), given);
    if ('problem' in parsed) problems.push(`${parsed.problem}${links.has(variable.name) ? linkRemedy : ''}`);
    else said.set(variable.name, parsed.value);
  }
  problems.push(...unknownVariables(env, links), ...conflictingAddresses(said), ...contradictedTls(said));
  if (profile !== undefined) {
    const parsed = parseVariable({ ...variables[0], name: 'the profile' }, profile);
    if ('problem' in parsed) problems.push(parsed.problem);
  }
  if (problems.length > 0) throw invalid(problems);
  return buildConfig(said, (profile ?? said.get('TENON_PROFILE') ?? 'dev') as ProfileName);
}

const rooms: Readonly<Record<string, BackendRoom>> = {
  TENON_TRANSPORT: 'transport',
  TENON_CODEC: 'codec',
  TENON_REGISTRY: 'registry',
  TENON_SELECTOR: 'selector',
  TENON_BROKER: 'broker',
};

/** Adds the application's own backends to the choices of a variable. */
function withOwnBackends(variable: Variable, backends: Backends): Variable {
  const room = rooms[variable.name];
  return room === undefined ? variable : { ...variable, choices: () => backendNames(room, backends) };
}

function takenBackendNames(backends: Backends): string[] {
  return Object.values(rooms).flatMap((room) =>
    Object.keys(backends[room] ?? {})
      .filter((name) => backendNames(room).includes(name) || !/^[\w.-]+$/.test(name))
      .map(
        (name) => `backends.${room}: "${name}" is the name of a backend of tenon, or not a valid name: choose another`,
      ),
  );
}

type Fields<T> = Readonly<Partial<Record<keyof T, VariableName>>>;

/** The variables of client options, by option. */
export const clientFields = {
  dialect: 'TENON_CLIENT_DIALECT',
  timeoutMs: 'TENON_CLIENT_TIMEOUT_MS',
  serviceConfig: 'TENON_CLIENT_SERVICE_CONFIG',
  maxReceiveBytes: 'TENON_MAX_RECEIVE_BYTES',
  maxSendBytes: 'TENON_MAX_SEND_BYTES',
  compress: 'TENON_CLIENT_COMPRESS',
  insecureCredentials: 'TENON_CLIENT_INSECURE_CREDENTIALS',
} as const satisfies Fields<ClientOptions>;

/** The variables of message limits, by option. */
export const messageFields = {
  maxElements: 'TENON_MAX_ELEMENTS',
  maxDepth: 'TENON_MAX_DEPTH',
} as const satisfies Fields<MessageLimits>;

const serverFields = {
  address: 'TENON_SERVER_ADDRESS',
  dialect: 'TENON_SERVER_DIALECT',
  maxReceiveBytes: 'TENON_MAX_RECEIVE_BYTES',
  maxSendBytes: 'TENON_MAX_SEND_BYTES',
  compress: 'TENON_SERVER_COMPRESS',
} as const satisfies Fields<ServerOptions>;

/** The variables of service options, by option. */
export const serviceFields = {
  ...serverFields,
  name: 'TENON_SERVER_NAME',
  id: 'TENON_SERVER_ID',
  advertise: 'TENON_SERVER_ADVERTISE',
  metadata: 'TENON_SERVER_METADATA',
  register: 'TENON_REGISTER',
  registerTtlMs: 'TENON_REGISTER_TTL_MS',
  registerIntervalMs: 'TENON_REGISTER_INTERVAL_MS',
  registerWorker: 'TENON_REGISTER_WORKER',
  registerBusyAfterMs: 'TENON_REGISTER_BUSY_AFTER_MS',
  registerBusyMs: 'TENON_REGISTER_BUSY_MS',
  exposeErrors: 'TENON_EXPOSE_ERRORS',
  suggest: 'TENON_SUGGEST',
  drain: 'TENON_DRAIN',
  lameDuckMs: 'TENON_LAME_DUCK_MS',
  drainTimeoutMs: 'TENON_DRAIN_TIMEOUT_MS',
  stopTimeoutMs: 'TENON_STOP_TIMEOUT_MS',
  health: 'TENON_HEALTH',
  healthFollowsRegistry: 'TENON_HEALTH_FOLLOWS_REGISTRY',
  healthFollowsBroker: 'TENON_HEALTH_FOLLOWS_BROKER',
  healthFollowsOutages: 'TENON_HEALTH_FOLLOWS_OUTAGES',
  requireBackends: 'TENON_REQUIRE_BACKENDS',
  reflection: 'TENON_REFLECTION',
} as const satisfies Fields<ServiceOptions>;

/** The service options that variables set, without the values of the profile. */
export function statedServiceOptions({ service, stated }: Config): ServiceOptions {
  const fields: Fields<ServiceOptions> = serviceFields;
  return Object.fromEntries(
    Object.entries(service).filter(([field]) => stated.includes(fields[field as keyof ServiceOptions] ?? '')),
  );
}

/** The text of `.env.example`: every variable with its meaning, values and defaults, commented out. */
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
  const room = rooms[variable.name];
  if (room !== undefined) lines.push(...backendRows[room].map(({ name, summary }) => `#   ${name}: ${summary}`));
  if (variable.unit) lines.push(`# In ${variable.unit === 'ms' ? 'milliseconds' : variable.unit}.`);
  if (typeof variable.fallback === 'object') {
    const byProfile = profileNames.map((name) => `${name} ${fallbackOf(variable, name)}`);
    lines.push(`# By profile: ${byProfile.join(', ')}`);
  }
  lines.push(`# ${variable.name}=${fallbackOf(variable, 'dev') ?? variable.example ?? ''}`);
  return `${lines.join('\n')}\n`;
}

function buildConfig(said: ReadonlyMap<string, Parsed>, profile: ProfileName): Config {
  const explicit = <T extends Parsed>(name: VariableName): T | undefined => said.get(name) as T | undefined;
  const valueOf = (variable: Variable): Parsed | undefined => {
    if (said.has(variable.name)) return said.get(variable.name);
    const fallback = fallbackOf(variable, profile);
    const parsed = fallback === undefined ? undefined : parseVariable(variable, fallback);
    return parsed && 'value' in parsed ? parsed.value : undefined;
  };
  const value = <T extends Parsed>(name: VariableName): T =>
    valueOf(variables.find((one) => one.name === name) as Variable) as T;
  const backend = (room: AddressedRoom): BackendChoice => {
    const variable = addressedRooms[room];
    const { name, address = explicit<string>(`${variable}_ADDRESS`) } = value<BackendChoice>(variable);
    const own = backendRow(room, name)?.variables?.map((one): [string, Parsed | undefined] => [
      one.option,
      valueOf(one),
    ]);
    return { name, address, settings: own && Object.fromEntries(own), security: securityOf(room, said) };
  };
  const read = <T>(fields: Fields<T>, from: (name: VariableName) => Parsed | undefined): object =>
    Object.fromEntries(Object.entries<VariableName>(fields as never).map(([field, name]) => [field, from(name)]));
  return {
    profile,
    stated: [...said.keys()],
    transport: value<BackendChoice>('TENON_TRANSPORT').name,
    transportServer: backend('transport'),
    inProcess: value('TENON_IN_PROCESS'),
    codec: value('TENON_CODEC'),
    messages: read<MessageLimits>(messageFields, value),
    registry: backend('registry'),
    selector: value('TENON_SELECTOR'),
    zone: explicit('TENON_ZONE'),
    broker: backend('broker'),
    log: { level: value('TENON_LOG_LEVEL'), format: value('TENON_LOG_FORMAT') },
    tls: tlsOf(explicit, value('TENON_TLS_CLIENT_AUTH')),
    client: read<ClientOptions>(clientFields, value),
    server: read<ServerOptions>(serverFields, value),
    health: value('TENON_HEALTH'),
    reflection: value('TENON_REFLECTION'),
    // Server options, health and reflection of the profile are in the fields above: here are only those of variables.
    service: {
      ...read<ServiceOptions>(serviceFields, value),
      ...read<ServerOptions>(serverFields, explicit),
      health: explicit('TENON_HEALTH'),
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

function unknownVariables(env: Readonly<Record<string, string | undefined>>, links: ReadonlySet<string>): string[] {
  const known = variables.map((variable): string => variable.name);
  return Object.keys(env)
    .filter((name) => name.toUpperCase().startsWith(prefix) && !name.startsWith(foreignPrefix))
    .filter((name) => !known.includes(name) && !links.has(name))
    .map((name) => {
      const suggestion = didYouMean(name, known);
      return `${name}: there is no such variable.${suggestion === '' ? ' Unset it: .env.example lists all variables.' : suggestion}`;
    });
}

function conflictingAddresses(said: ReadonlyMap<string, Parsed>): string[] {
  return Object.values(addressedRooms).flatMap((name) => {
    const inUrl = (said.get(name) as BackendChoice | undefined)?.address;
    const apart = said.get(`${name}_ADDRESS`);
    return inUrl === undefined || apart === undefined || inUrl === apart
      ? []
      : [`${name}_ADDRESS: ${name} already has an address, and a different one: set one of them`];
  });
}

function contradictedTls(said: ReadonlyMap<string, Parsed>): string[] {
  return Object.values(addressedRooms).flatMap((name) => {
    if (said.get(`${name}_TLS`) !== false) return [];
    const addresses = [
      [name, (said.get(name) as BackendChoice | undefined)?.address],
      [`${name}_ADDRESS`, said.get(`${name}_ADDRESS`) as string | undefined],
    ] as const;
    return addresses.flatMap(([one, address]) => {
      const scheme = tlsSchemeOf(address);
      if (!scheme) return [];
      const { secure, plain } = scheme;
      return [`${name}_TLS is false, and ${one} asks for TLS by ${secure}://; unset ${name}_TLS, or give ${plain}://`];
    });
  });
}

function invalid(problems: readonly string[]): TenonError {
  const message =
    problems.length === 1
      ? `the configuration is wrong: ${problems.join('')}`
      : `the configuration has ${problems.length} problems:\n${problems.map((problem) => `- ${problem}`).join('\n')}`;
  return new TenonError({ code: Code.InvalidArgument, reason: 'config.invalid', message });
}
