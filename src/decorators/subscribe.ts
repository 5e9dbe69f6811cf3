import type { Context } from '../context/context.ts';
import { Code, TenonError } from '../errors/errors.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { EventHandlerOptions } from '../server/server.ts';
import { type MessageSchema, recordSubscription } from './metadata.ts';

/** Options of {@link Subscribe}. */
export interface SubscribeDecoratorOptions extends EventHandlerOptions {
  /** Full name of the event's message type in the handler's `.proto`: `places.Visited`. */
  readonly message?: string | undefined;
  /** Schema of the event, for handlers without a `.proto`. Every event is validated against it. */
  readonly schema?: MessageSchema | undefined;
  /** Interceptors around this subscription only, inside those of its class. */
  readonly interceptors?: readonly Interceptor[] | undefined;
}

// Only `any` accepts whatever an event is.
// oxlint-disable-next-line typescript/no-explicit-any
type AnyEvent = any;

/** A method decorator that compiles only on methods that return nothing, as events have no replies. */
export type SubscribeDecorator = <F extends (event: AnyEvent, ctx: Context) => Promise<void> | void>(
  target: object,
  property: string,
  descriptor: TypedPropertyDescriptor<F>,
) => void;

/**
 * Marks a method that handles the events of `topic`: `(event, ctx) => Promise<void>`. An event is acknowledged when the
 * method returns. If it throws, the event is handled again or dropped, as `retry` and `deadLetter` say. An event may
 * come twice: see `dedupe`.
 *
 * @example
 * ```ts
 * @Handler()
 * class Audit {
 *   @Subscribe('greeted', { queue: 'audit', retry: 3, deadLetter: true })
 *   async onGreeted(event: { name: string }): Promise<void> {
 *     await this.write(event.name);
 *   }
 *   private async write(_line: string): Promise<void> {}
 * }
 * ```
 */
export function Subscribe(topic: string, options: SubscribeDecoratorOptions = {}): SubscribeDecorator {
  return (target, property, descriptor) => {
    if (
      topic === '' ||
      typeof property !== 'string' ||
      typeof descriptor?.value !== 'function' ||
      typeof target === 'function'
    ) {
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'decorators.invalid',
        message: `@Subscribe("${topic}") on ${String(property)}: it needs a topic that is not empty, and an instance method whose name is a string`,
      });
    }
    const { message, schema, interceptors, ...rest } = options;
    recordSubscription(target, { property, topic, options: rest, message, schema, interceptors: interceptors ?? [] });
  };
}
