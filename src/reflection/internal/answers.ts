import type { Context } from '../../context/context.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { iteratorOf } from '../../internal/iterators.ts';
import type { ServiceRuntime } from '../../service/service.ts';
import type { Reflected } from '../reflected.ts';
import type { DescriptorFile } from './descriptor-file.ts';
import { DescriptorIndex } from './descriptor-index.ts';

interface Request {
  readonly host: string;
  readonly messageRequest?: string;
  readonly fileByFilename?: string;
  readonly fileContainingSymbol?: string;
  readonly fileContainingExtension?: { readonly containingType: string; readonly extensionNumber: number };
  readonly allExtensionNumbersOfType?: string;
  readonly listServices?: string;
}

/** Answers the questions of one call, until there are no more, the caller leaves, or the server takes no more calls. */
export async function* answers(
  reflected: Reflected,
  requests: AsyncIterable<unknown>,
  ctx: Context,
  service: Pick<ServiceRuntime, 'status' | 'onChange'>,
): AsyncIterable<object> {
  const sent = new Set<string>();
  const iterator = iteratorOf(requests as AsyncIterable<Request>);
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

/**
 * Ends a wait for the next request when the caller has left or the server takes no more calls. A generator that waits
 * would notice neither.
 */
class Ending {
  readonly #forget: readonly (() => void)[];
  #isReached = false;
  #wake: (() => void) | undefined;

  constructor(ctx: Context, service: Pick<ServiceRuntime, 'status' | 'onChange'>) {
    const look = (): void => {
      if (!service.status.isAccepting) this.#reach();
    };
    this.#forget = [ctx.onAbort(() => this.#reach()), service.onChange(look)];
    look();
  }

  /** Settles as `promise` does; resolves to `undefined` if the end comes first. */
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

/** The index of each server's files, which both versions of the protocol share. */
const indexes = new WeakMap<Reflected, DescriptorIndex>();

function indexOf(reflected: Reflected): DescriptorIndex {
  let index = indexes.get(reflected);
  if (!index) indexes.set(reflected, (index = new DescriptorIndex(reflected.files)));
  return index;
}

function answer(reflected: Reflected, request: Request, sent: Set<string>): object {
  const index = indexOf(reflected);
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

/** Returns a name without the dot that it begins with in descriptors: some clients send it. */
function bare(name = ''): string {
  return name.replace(/^\./, '');
}

function notFound(what: string): object {
  return { errorResponse: { errorCode: Code.NotFound, errorMessage: `this server has ${what}` } };
}

function stopping(): TenonError {
  return new TenonError({ code: Code.Unavailable, reason: 'reflection.stopping', message: 'the server stops' });
}
