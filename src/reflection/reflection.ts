import type { Context } from '../context/context.ts';
import { lazySchema, type ProtoType, type Schema } from '../pipeline/pipeline.ts';
import type { ServerHandler } from '../server/server.ts';
import type { ServiceRuntime } from '../service/service.ts';
import type { Reflected } from './reflected.ts';

/** The versions of the protocol: clients try the first, and older ones know only the second. */
export const reflectionVersions = ['v1', 'v1alpha'] as const;
/** One of {@link reflectionVersions}. */
export type ReflectionVersion = (typeof reflectionVersions)[number];

/** The `.proto` of a version. */
export function reflectionProto(version: ReflectionVersion): URL {
  return new URL(`tenon:grpc/reflection/${version}/reflection.proto`);
}

/** Full name of the service of a version. */
export function reflectionName(version: ReflectionVersion): string {
  return `grpc.reflection.${version}.ServerReflection`;
}

/** The `.proto` of the details of errors that are in common use: clients ask the server how to show them. */
export const errorDetailsProto = new URL('tenon:google/rpc/error_details.proto');

/** What {@link reflectionHandler} is told. */
export interface ReflectionOptions {
  readonly version: ReflectionVersion;
  /** Who answers: what is told. */
  readonly reflected: Reflected;
  /** A message type of {@link reflectionProto}; asked with the first call. */
  readonly findType: (name: string) => ProtoType | undefined;
  /**
   * Whose calls these are: a call that waits for its next request is ended when it takes no more calls, for it must not
   * hold up the stop.
   */
  readonly service: Pick<ServiceRuntime, 'status' | 'onChange'>;
}

/**
 * `grpc.reflection.<version>.ServerReflection` as a handler like any other (github.com/grpc/grpc:
 * doc/server-reflection.md). Left out of the registry's record. A file comes with what it imports; what a stream was
 * sent before is not sent again. What is not found is an error response with NOT_FOUND, and the stream goes on.
 *
 * A service without a `.proto` is not listed: there is nothing to tell of it in this protocol, and clients give up at a
 * service that they cannot resolve.
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

/** Services are asked of themselves seldom, and many never: what answers is loaded with the first call. */
async function* answered(
  reflected: Reflected,
  requests: AsyncIterable<unknown>,
  ctx: Context,
  service: ReflectionOptions['service'],
): AsyncIterable<object> {
  const { answers } = await import('./internal/answers.ts');
  yield* answers(reflected, requests, ctx, service);
}
