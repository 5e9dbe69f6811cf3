import { Code, TenonError } from '../errors/errors.ts';
import { mapIterator } from '../internal/iterators.ts';
import {
  type HandlerFunction,
  lazySchema,
  type MethodDescriptor,
  type MethodKind,
  type ProtoType,
  type Schema,
} from '../pipeline/pipeline.ts';
import type { ServerHandler } from '../server/server.ts';
import type { ServingStatus } from './health.ts';
import type { ServiceHealth } from './service-health.ts';

/** The URL of the protocol's `.proto`, which `loadProto` knows. */
export const healthProto = new URL('tenon:grpc/health/v1/health.proto');

/** Full name of the service. */
export const healthName = 'grpc.health.v1.Health';

// The limit of List in the protocol.
const mostListed = 100;

interface CheckRequest {
  readonly service: string;
}

/** The status of a service, as the protocol sends it. */
export interface CheckResponse {
  readonly status: ServingStatus | 'SERVICE_UNKNOWN';
}

/**
 * Makes the handler of `grpc.health.v1.Health`: Check, List and Watch (github.com/grpc/grpc: doc/health-checking.md).
 * It is left out of the registry's record.
 *
 * `findType` returns a message type of {@link healthProto}. It is called with the first call, so that a start does not
 * wait for a file that is read.
 */
export function healthHandler(health: ServiceHealth, findType: (name: string) => ProtoType | undefined): ServerHandler {
  const message = (name: string): Schema => lazySchema(`grpc.health.v1.${name}`, findType);
  const [checkRequest, checkResponse] = [message('HealthCheckRequest'), message('HealthCheckResponse')];
  const check: HandlerFunction = (request) => checked(health, (request as CheckRequest).service);
  const list: HandlerFunction = () => listed(health);
  const watch: HandlerFunction = (request) =>
    mapIterator(health.watch((request as CheckRequest).service), (status): CheckResponse => ({ status }));
  return {
    name: healthName,
    internal: true,
    methods: [
      { descriptor: descriptor('Check', 'unary', checkRequest, checkResponse), invoke: check },
      {
        descriptor: descriptor('List', 'unary', message('HealthListRequest'), message('HealthListResponse')),
        invoke: list,
      },
      { descriptor: descriptor('Watch', 'server', checkRequest, checkResponse), invoke: watch },
    ],
  };
}

function checked(health: ServiceHealth, name: string): CheckResponse {
  const status = health.status(name);
  if (status !== undefined) return { status };
  throw new TenonError({
    code: Code.NotFound,
    reason: 'health.unknown_service',
    message: `nothing is known of the health of "${name}": List says of what it is`,
  });
}

function listed(health: ServiceHealth): { readonly statuses: Readonly<Record<string, CheckResponse>> } {
  const names = health.names();
  if (names.length > mostListed) {
    throw new TenonError({
      code: Code.ResourceExhausted,
      reason: 'health.too_many',
      message: `${names.length} services are known, and no more than ${mostListed} may be listed: check them one at a time`,
    });
  }
  return { statuses: Object.fromEntries(names.map((name) => [name, { status: health.status(name) ?? 'UNKNOWN' }])) };
}

function descriptor(method: string, kind: MethodKind, input: Schema, output: Schema): MethodDescriptor {
  return {
    service: healthName,
    method,
    path: `/${healthName}/${method}`,
    aliases: [],
    kind,
    input,
    output,
    idempotent: true,
    defaultContentType: 'application/grpc+proto',
  };
}
