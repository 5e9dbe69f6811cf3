import type { AppOptions } from 'tenon';
import { backendNames, type BackendRoom } from 'tenon/app';
import { RedisBrokerOptions } from 'tenon/broker/redis';

/** The environment of a program. */
export type Env = Readonly<Record<string, string | undefined>>;

/** A program was told something that it cannot do: the message is for people, and no stack is needed. */
export class SettingsError extends Error {}

/**
 * Tenon's own variables for what these programs are told under the names that interop programs share: `REGISTRY=redis`
 * is `TENON_REGISTRY=redis`. What is said in `TENON_…` holds where the program is not told.
 */
export function tenonEnv(env: Env, more: Env = {}): Env {
  const own = Object.entries(env).filter(([name]) => name.startsWith('TENON_'));
  return {
    TENON_PROFILE: 'local',
    TENON_LOG_LEVEL: 'warn',
    ...Object.fromEntries(own),
    ...stated({
      TENON_REGISTRY: backend('registry', env['REGISTRY'], withoutServer),
      TENON_REGISTRY_ADDRESS: withoutServer.has(env['REGISTRY'] ?? '') ? undefined : env['REGISTRY_ADDRESS'],
      TENON_MDNS_INTERFACE: env['MDNS_INTERFACE'],
      TENON_BROKER: backend('broker', env['BROKER']),
      TENON_BROKER_ADDRESS: env['BROKER_ADDRESS'],
      ...more,
    }),
  };
}

/** How the broker of these programs writes: as Go Micro does, so that its peers can read it. */
export function goMicroBroker(env: Env): NonNullable<AppOptions['bind']> {
  return (container) => {
    if (env['BROKER'] !== 'redis') return;
    container
      .rebind(RedisBrokerOptions)
      .toConstantValue({ ...stated({ address: env['BROKER_ADDRESS'] }), dialect: 'go-micro' });
  };
}

/** Variables that have to be whole numbers. */
export function integer(env: Env, name: string): string | undefined {
  const text = env[name];
  if (text === undefined || text === '') return undefined;
  if (!/^\d+$/.test(text)) throw new SettingsError(`${name}=${text}: a whole number is expected`);
  return text;
}

/** Runs a program. One that is told nonsense says so in one line and exits with 2. */
export async function program(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(2);
  }
}

// Registries to which a service says nothing.
const withoutServer: ReadonlySet<string> = new Set(['static', 'dns']);

function backend(room: BackendRoom, name: string | undefined, silent?: ReadonlySet<string>): string | undefined {
  if (name === undefined || name === '' || name === 'none') return undefined;
  if (silent?.has(name) === true) return 'memory';
  const names = backendNames(room);
  if (names.includes(name)) return name;
  throw new SettingsError(`the ${room} "${name}" comes later: this version of tenon has ${names.join(', ')}`);
}

function stated<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined && value !== ''),
  ) as Partial<T>;
}
