import { aCount, type NumberRule } from '../../errors/checked-options.ts';
import type { SocketServerOptions } from '../transport.ts';

/** The defaults of the limits of servers over sockets. */
export const socketServerDefaults = {
  maxConnections: 50_000,
  maxHandshakes: 4_096,
  backlog: 4_096,
  maxUnsentBytesPerConnection: 16 * 1024 * 1024,
  maxUnsentBytes: 256 * 1024 * 1024,
  sendTimeoutMs: 60_000,
} as const satisfies Required<SocketServerOptions>;

/** Rules for the options that are counts. */
export const socketRules = {
  maxCalls: { ...aCount, max: 2 ** 32 - 1 },
  backlog: { ...aCount, max: 2 ** 31 - 1 },
} as const satisfies Readonly<Record<string, NumberRule>>;

/** The bounds of a listener, all known. */
export type SocketServerLimits = Readonly<Record<keyof SocketServerOptions, number>>;
