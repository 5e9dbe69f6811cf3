import { aCount, checkedOptions } from '../../errors/checked-options.ts';
import { silentLogger } from '../../logger/logger.ts';
import { systemRuntime } from '../../runtime/system.ts';
import { defaultMaxMetadataBytes } from './grpc-headers.ts';
import type { GrpcOptions } from './grpc-options.ts';
import { socketRules, socketServerDefaults } from '../sockets/socket-defaults.ts';

/** The defaults of the options of gRPC transports. */
export const grpcDefaults = {
  ...socketServerDefaults,
  idleMs: 300_000,
  maxReconnectMs: 800,
  keepaliveTimeoutMs: 20_000,
  serverKeepaliveMs: 60_000,
  minPingIntervalMs: 5_000,
  maxCalls: 10_000,
  maxMetadataBytes: defaultMaxMetadataBytes,
  runtime: systemRuntime,
  logger: silentLogger,
} as const satisfies GrpcOptions;

/** Checks options, and fills them in with the defaults. */
export function withGrpcDefaults<T extends GrpcOptions>(options: T): T & typeof grpcDefaults {
  checkedOptions<GrpcOptions>('GrpcTransportOptions', options, { ...socketRules, maxMetadataBytes: aCount });
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { ...grpcDefaults, ...given } as T & typeof grpcDefaults;
}
