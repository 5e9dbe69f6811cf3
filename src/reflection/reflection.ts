import type { Context } from '../context/context.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { iteratorOf } from '../internal/iterators.ts';
import { lazySchema, type ProtoType, type Schema } from '../pipeline/pipeline.ts';
import type { ServerHandler } from '../server/server.ts';
import type { ServiceRuntime } from '../service/service.ts';
import type { DescriptorFile } from './internal/descriptor-file.ts';
import { DescriptorIndex } from './internal/descriptor-index.ts';

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
  /** Whose calls these are: a call that waits for its next request is ended when it takes no more calls, for it must not hold up the stop. */
  readonly service: Pick<ServiceRuntime, 'status' | 'onChange'>;
}

/** A service that is told of. */
export interface ReflectedService {
  /** Full name. */
  readonly name: string;
  /**
   * The files that define it, each behind those it imports, as serialized `google.protobuf.FileDescriptorProto`; `undefined` where there is no `.proto`. Asked with the
   * first question.
   */
  readonly files: () => readonly Uint8Array[] | undefined;
}

/** What a server tells of itself, shared by the versions of the protocol. */
export class Reflected {
  readonly #services: readonly ReflectedService[];
  readonly #others: () => readonly Uint8Array[];
  #index: DescriptorIndex | undefined;
  #names: readonly string[] | undefined;

  /** `others` are files that define no service: the types of what travels in an `Any`, such as the details of errors. */
  constructor(services: readonly ReflectedService[], others: () => readonly Uint8Array[] = () => []) {
    this.#services = services;
    this.#others = others;
  }

  /** @internal */
  get index(): DescriptorIndex {
    return (this.#index ??= new DescriptorIndex([...this.#services.map(({ files }) => files() ?? []), this.#others()]));
  }

  /** The services that have a definition, in order. */
  get names(): readonly string[] {
    return (this.#names ??= this.#services
      .filter(({ files }) => files() !== undefined)
      .map(({ name }) => name)
      .sort());
  }

  /** Whether it is answered, but has no `.proto`. */
  isUndefined(symbol: string): boolean {
    return this.#services.some(
      ({ name, files }) => (symbol === name || symbol.startsWith(`${name}.`)) && files() === undefined,
    );
  }
}

interface Request {
  readonly host: string;
  readonly messageRequest?: string;
  readonly fileByFilename?: string;
  readonly fileContainingSymbol?: string;
  readonly fileContainingExtension?: { readonly containingType: string; readonly extensionNumber: number };
  readonly allExtensionNumbersOfType?: string;
  readonly listServices?: string;
}

/**
 * `grpc.reflection.<version>.ServerReflection` as a handler like any other (github.com/grpc/grpc: doc/server-reflection.md). Left out of the registry's record. A file comes
 * with what it imports; what a stream was sent before is not sent again. What is not found is an error response with NOT_FOUND, and the stream goes on.
 *
 * A service without a `.proto` is not listed: there is nothing to tell of it in this protocol, and clients give up at a service that they cannot resolve.
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
        invoke: (requests, ctx) => answers(reflected, requests as AsyncIterable<Request>, ctx, service),
      },
    ],
  };
}

async function* answers(
  reflected: Reflected,
  requests: AsyncIterable<Request>,
  ctx: Context,
  service: ReflectionOptions['service'],
): AsyncIterable<object> {
  const sent = new Set<string>();
  const iterator = iteratorOf(requests);
  const ending = new Ending(ctx, service);
  try {
    for (;;) {
      const next = await ending.before(iterator.next());
      if (next === undefined) throw stopping();
      if (next.done) return;
      const request = next.value;
      yield { validHost: request.host, originalRequest: request, ...answer(reflected, request, sent) };
    }
  } finally {
    ending.forget();
  }
}

/** Knows when the caller has left, or the server takes no more calls: a generator that waits for a request would not hear of either. */
class Ending {
  readonly #forget: readonly (() => void)[];
  #isReached = false;
  #wake: (() => void) | undefined;

  constructor(ctx: Context, service: ReflectionOptions['service']) {
    const look = (): void => {
      if (!service.status.isAccepting) this.#reach();
    };
    this.#forget = [ctx.onAbort(() => this.#reach()), service.onChange(look)];
    look();
  }

  /** What `promise` comes to; `undefined` if the end comes before. */
  before<T>(promise: Promise<T>): Promise<T | undefined> {
    if (this.#isReached) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      promise.then(resolve, reject);
    });
  }

  forget(): void {
    for (const one of this.#forget) one();
  }

  #reach(): void {
    this.#isReached = true;
    this.#wake?.();
  }
}

function answer(reflected: Reflected, request: Request, sent: Set<string>): object {
  const { index } = reflected;
  const file = (found: DescriptorFile | undefined, what: string): object =>
    found ? { fileDescriptorResponse: { fileDescriptorProto: index.withImports(found, sent) } } : notFound(what);
  switch (request.messageRequest) {
    case 'listServices':
      return { listServicesResponse: { service: reflected.names.map((name) => ({ name })) } };
    case 'fileByFilename':
      return file(index.byName(request.fileByFilename ?? ''), `no file "${request.fileByFilename}"`);
    case 'fileContainingSymbol': {
      const symbol = bare(request.fileContainingSymbol);
      const why = reflected.isUndefined(symbol)
        ? `"${symbol}" has no .proto: its messages travel as JSON`
        : `no symbol "${symbol}"`;
      return file(index.bySymbol(symbol), why);
    }
    case 'fileContainingExtension': {
      const { containingType = '', extensionNumber = 0 } = request.fileContainingExtension ?? {};
      const type = bare(containingType);
      return file(index.byExtension(type, extensionNumber), `no extension ${extensionNumber} of "${type}"`);
    }
    case 'allExtensionNumbersOfType': {
      const type = bare(request.allExtensionNumbersOfType);
      const numbers = index.extensionsOf(type);
      return numbers
        ? { allExtensionNumbersResponse: { baseTypeName: type, extensionNumber: numbers } }
        : notFound(`no message "${type}"`);
    }
    default:
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'reflection.no_question',
        message: 'the request asks nothing: set one field of message_request',
      });
  }
}

/** Some write names as they stand in descriptors. */
function bare(name = ''): string {
  return name.replace(/^\./, '');
}

function notFound(what: string): object {
  return { errorResponse: { errorCode: Code.NotFound, errorMessage: `this server has ${what}` } };
}

function stopping(): TenonError {
  return new TenonError({ code: Code.Unavailable, reason: 'reflection.stopping', message: 'the server stops' });
}
