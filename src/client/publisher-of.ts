import type { ServiceIdentifier } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import type { Schema } from '../pipeline/pipeline.ts';
import type { Client, ClientPublishOptions } from './client.ts';

/** One event of an {@link EventsContract}. */
export interface EventContract<E> {
  /** @default '<name of the contract>.<name of the event>' */
  readonly topic?: string | undefined;
  /** Key of the order of an event, unless its options say one. @default none */
  readonly orderKey?: ((event: E) => string) | undefined;
  /** Key for subscribers with deduplication, unless the options of an event say one. @default none */
  readonly dedupeKey?: ((event: E) => string) | undefined;
  /** @default any */
  readonly schema?: Schema | undefined;
  /** @default JSON, or protobuf with a schema that has one */
  readonly contentType?: string | undefined;
}

/** Describes the events of a subject: their names, their topics and their types. Made by {@link eventsOf}. */
export interface EventsContract<T> {
  readonly name: string;
  /** The topic of each event, for `@Subscribe`. */
  readonly topics: { readonly [K in keyof T & string]: string };
  readonly events: { readonly [K in keyof T & string]: EventContract<T[K]> };
}

/** Publishes the events of a contract: one method for each, which resolves when the broker has the event. */
export type PublisherOf<T> = {
  readonly [K in keyof T & string]: (event: T[K], options?: ClientPublishOptions) => Promise<void>;
};

/** The container key of a publisher. */
export type PublisherToken<T> = ServiceIdentifier<PublisherOf<T>>;

/**
 * Describes events to those who publish them and to those who handle them. `T` is an interface with the type of each
 * event by its name; the compiler checks that each is listed. Throws INVALID_ARGUMENT (`client.invalid_source`) for an
 * empty name.
 *
 * @example
 * ```ts
 * interface OrderEvents {
 *   placed: { id: string; total: number };
 *   cancelled: { id: string };
 * }
 * const OrderEvents = eventsOf<OrderEvents>('orders', { placed: { orderKey: ({ id }) => id }, cancelled: {} });
 * ```
 */
export function eventsOf<T>(
  name: string,
  events: { readonly [K in keyof T & string]: EventContract<T[K]> },
): EventsContract<T> {
  const all = Object.entries<EventContract<never>>(events);
  const topics = Object.fromEntries(all.map(([event, { topic = `${name}.${event}` }]) => [event, topic]));
  if (name === '' || Object.values(topics).includes('')) {
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'client.invalid_source',
      message: `eventsOf("${name}"): its name and its topics are texts of at least one character`,
    });
  }
  return Object.freeze({ name, topics: Object.freeze(topics) as EventsContract<T>['topics'], events });
}

/** Makes the publisher of a contract over a client. */
export function publisherOver<T>(client: Client, { topics, events }: EventsContract<T>): PublisherOf<T> {
  const methods = (Object.keys(events) as (keyof T & string)[]).map((name) => {
    const { orderKey, dedupeKey, schema, contentType } = events[name];
    const publish = async (event: T[typeof name], options: ClientPublishOptions = {}): Promise<void> => {
      const message = client.newMessage(topics[name], event, { schema, contentType });
      await client.publish(message, {
        ...options,
        orderKey: options.orderKey ?? orderKey?.(event),
        dedupeKey: options.dedupeKey ?? dedupeKey?.(event),
      });
    };
    return [name, publish];
  });
  return Object.freeze(Object.fromEntries(methods)) as PublisherOf<T>;
}

const sourceKey = Symbol.for('tenon.client.events');
const tokens = new WeakMap<object, ServiceIdentifier<unknown>>();

/**
 * Returns the container key of the publisher of a contract. The container resolves it wherever it is injected; nothing
 * needs to be bound.
 *
 * @example
 * ```ts
 * const OrderEvents = eventsOf<{ placed: { id: string } }>('orders', { placed: {} });
 * class Checkout {
 *   constructor(@inject(publisherOf(OrderEvents)) private readonly orders: PublisherOf<{ placed: { id: string } }>) {}
 *   async place(id: string): Promise<void> {
 *     await this.orders.placed({ id });
 *   }
 * }
 * ```
 */
export function publisherOf<T>(contract: EventsContract<T>): PublisherToken<T> {
  let token = tokens.get(contract);
  if (!token) {
    // A function, so that it carries its contract, and errors of the container show its name.
    const key = function publisher(): void {};
    Object.defineProperty(key, 'name', { value: `publisherOf(${contract.name})` });
    Object.defineProperty(key, sourceKey, { value: contract });
    token = key as unknown as ServiceIdentifier<unknown>;
    tokens.set(contract, token);
  }
  return token as PublisherToken<T>;
}

/** Returns the contract of a container key; `undefined` for a key that `publisherOf` did not make. */
export function eventsContractOf(identifier: unknown): EventsContract<object> | undefined {
  return typeof identifier === 'function'
    ? (identifier as unknown as Record<symbol, EventsContract<object> | undefined>)[sourceKey]
    : undefined;
}
