import type { Context } from '../context/context.ts';
import { lazySchema, type ProtoType, type Schema } from '../pipeline/pipeline.ts';
import type { ServerHandler } from '../server/server.ts';
import type { ServiceRuntime } from '../service/service.ts';
import type { Reflected } from './reflected.ts';

/** The versions of the protocol. Clients try the first; older ones know only the second. */
export const reflectionVersions = ['v1', 'v1alpha'] as const;
/** One of {@link reflectionVersions}. */
export type ReflectionVersion = (typeof reflectionVersions)[number];

/** Returns the URL of a version's `.proto`. */
export function reflectionProto(version: ReflectionVersion): URL {
  return new URL(`tenon:grpc/reflection/${version}/reflection.proto`);
}

/** Returns the full name of a version's service. */
export function reflectionName(version: ReflectionVersion): string {
  return `grpc.reflection.${version}.ServerReflection`;
}

/** The URL of the `.proto` with Google's error details. Clients ask the server for it to show the details of errors. */
export const errorDetailsProto = new URL('tenon:google/rpc/error_details.proto');

/** Options of {@link reflectionHandler}. */
export interface ReflectionOptions {
  readonly version: ReflectionVersion;
  /** The services that the answers describe. */
  readonly reflected: Reflected;
  /** Returns a message type of {@link reflectionProto}. It is called with the first call. */
  readonly findType: (name: string) => ProtoType | undefined;
  /**
   * The service that answers. When it takes no more calls, a call that waits for its next request is ended, as it must
   * not hold up the stop.
   */
  readonly service: Pick<ServiceRuntime, 'status' | 'onChange'>;
}

/**
 * Makes the handler of `grpc.reflection.<version>.ServerReflection` (github.com/grpc/grpc: doc/server-reflection.md).
 * It is left out of the registry's record. A file comes with those it imports; a file that was sent on the stream
 * before is not sent again. For something unknown the answer is an error response with NOT_FOUND, and the stream goes
 * on.
 *
 * A service without a `.proto` is not listed: the protocol has no way to describe it, and clients give up at a service
 * that they cannot resolve.
 */
export function reflectionHandler({ version, reflected, findType, service }: ReflectionOptions): ServerHandler {
  const name = reflectionName(version);
  const message = (type: string): Schema => lazySchema(`grpc.reflection.${version}.${type}`, findType);
  return {
    name,
    internal: true,
    methods: [
      {
        descriptor: {
          service: name,
          method: 'ServerReflectionInfo',
          path: `/${name}/ServerReflectionInfo`,
          aliases: [],
          kind: 'bidi',
          input: message('ServerReflectionRequest'),
          output: message('ServerReflectionResponse'),
          idempotent: true,
          defaultContentType: 'application/grpc+proto',
        },
        invoke: (requests, ctx) => answered(reflected, requests as AsyncIterable<unknown>, ctx, service),
      },
    ],
  };
}

/** Loads the code that answers with the first call: most processes are never asked. */
async function* answered(
  reflected: Reflected,
  requests: AsyncIterable<unknown>,
  ctx: Context,
  service: ReflectionOptions['service'],
): AsyncIterable<object> {
  const { answers } = await import('./internal/answers.ts');
  yield* answers(reflected, requests, ctx, service);
}
