import type { ServiceIdentifier } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import type { CallOptions } from './client.ts';

type Message<T> = T extends AsyncIterable<infer M> ? AsyncIterable<M> | Iterable<M> : T;
type Caller<F> = F extends (...args: infer A) => infer R
  ? (
      ...args: A extends []
        ? [input?: Record<string, never>, options?: CallOptions]
        : [input: Message<A[0]>, options?: CallOptions]
    ) => [R] extends [AsyncIterable<infer M>] ? AsyncIterable<M> : Promise<Awaited<R>>
  : never;

/**
 * The typed client of a handler class, or of an interface of its methods. Every method takes the request (for a client
 * stream, any iterable of requests) and call options, and returns a promise of the reply, or an AsyncIterable of
 * replies.
 */
export type ClientOf<T> = {
  readonly [K in keyof T as T[K] extends (...args: never[]) => unknown ? K : never]: Caller<T[K]>;
};

/** One method of a {@link Contract}. */
export interface ContractMethod {
  /** @default unary */
  readonly stream?: 'server' | 'client' | 'bidi' | undefined;
  /** Name on the wire. @default the method's, with a capital */
  readonly name?: string | undefined;
  /** @default false */
  readonly idempotent?: boolean | undefined;
}

/**
 * Describes a service without the class that implements it and without a `.proto`: its name, and its methods with their
 * kinds. Messages travel as JSON. Made by {@link contract}.
 */
export interface Contract<T> {
  readonly name: string;
  readonly service?: string | undefined;
  readonly methods: Readonly<Record<string, ContractMethod>>;
  /** Never set: it carries the type `T` for the type checker. */
  readonly type?: T;
}

/** Describes a service by its `.proto` alone. */
export interface ProtoContract {
  /** Path or URL of the file. */
  readonly proto: string | URL;
  /** Full service name: `places.Places`. */
  readonly name: string;
  /** Name in the registry. @default the proto package */
  readonly service?: string | undefined;
}

/** A class or a description that a typed client can be made from. */
export type ClientSource = (abstract new (...args: never[]) => unknown) | Contract<unknown> | ProtoContract;

/** The container key of a typed client. */
export type ClientToken<T> = ServiceIdentifier<ClientOf<T>>;

type KindOf<F> = F extends (...args: infer A) => infer R
  ? A[0] extends AsyncIterable<unknown>
    ? R extends AsyncIterable<unknown>
      ? { readonly stream: 'bidi' }
      : { readonly stream: 'client' }
    : R extends AsyncIterable<unknown>
      ? { readonly stream: 'server' }
      : { readonly stream?: undefined }
  : never;

/**
 * Describes a service to its callers, so that they need not import what implements it. `T` is an interface of the
 * methods; the compiler checks that each is listed with the shape it has.
 *
 * @example
 * ```ts
 * interface ClockApi {
 *   now(request: { zone: string }): Promise<{ time: string }>;
 *   tick(request: { count: number }): AsyncIterable<{ n: number }>;
 * }
 * const clock = contract<ClockApi>('clock.Clock', { now: {}, tick: { stream: 'server' } });
 * ```
 */
export function contract<T>(
  name: string,
  methods: { readonly [K in keyof T & string]: Omit<ContractMethod, 'stream'> & KindOf<T[K]> },
  options: { readonly service?: string } = {},
): Contract<T> {
  return { name, methods, service: options.service };
}

const sourceKey = Symbol.for('tenon.client.source');
const byClass = new WeakMap<object, ServiceIdentifier<unknown>>();
const byProto = new Map<string, ServiceIdentifier<unknown>>();

/**
 * Returns the container key of a typed client: of a handler class, of a {@link contract}, or of a service known by its
 * `.proto` (then typed by the interface given). The same argument gives the same key. The container resolves it
 * wherever it is injected; nothing needs to be bound.
 *
 * @example
 * ```ts
 * @Handler('greeter.Greeter')
 * class GreeterHandler {
 *   @Rpc() async hello(request: { name: string }): Promise<{ text: string }> {
 *     return { text: `Hello ${request.name}` };
 *   }
 * }
 * class Caller {
 *   constructor(@inject(clientOf(GreeterHandler)) private readonly greeter: ClientOf<GreeterHandler>) {}
 *   async greet(): Promise<string> {
 *     return (await this.greeter.hello({ name: 'Ada' }, { timeoutMs: 200 })).text;
 *   }
 * }
 * ```
 */
export function clientOf<T>(source: abstract new (...args: never[]) => T): ClientToken<T>;
export function clientOf<T>(source: Contract<T>): ClientToken<T>;
export function clientOf<T>(source: ProtoContract): ClientToken<T>;
export function clientOf(source: ClientSource): ServiceIdentifier<never> {
  if (source === undefined || source === null) {
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'client.invalid_source',
      message:
        'clientOf(undefined): the class is not defined yet where it is named, as in an import cycle; move it to a module of its own',
    });
  }
  if (typeof source === 'object' && 'proto' in source) {
    const key = `${String(source.proto)}#${source.name}#${source.service ?? ''}`;
    let token = byProto.get(key);
    if (!token) byProto.set(key, (token = makeToken(source, source.name)));
    return token as ServiceIdentifier<never>;
  }
  let token = byClass.get(source);
  if (!token) byClass.set(source, (token = makeToken(source, source.name)));
  return token as ServiceIdentifier<never>;
}

/**
 * Returns the class or description that a container key is a client of; `undefined` for a key that `clientOf` did not
 * make.
 */
export function clientSourceOf(identifier: unknown): ClientSource | undefined {
  return typeof identifier === 'function'
    ? (identifier as unknown as Record<symbol, ClientSource | undefined>)[sourceKey]
    : undefined;
}

/**
 * Makes a container key. It is a function, so that it carries its source, and errors of the container show its name.
 */
function makeToken(source: ClientSource, name: string): ServiceIdentifier<unknown> {
  const token = function client(): void {};
  Object.defineProperty(token, 'name', { value: `clientOf(${name})` });
  Object.defineProperty(token, sourceKey, { value: source });
  return token as unknown as ServiceIdentifier<unknown>;
}
