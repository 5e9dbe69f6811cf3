import type { Context } from '../context/context.ts';
import { Code, TenonError } from '../errors/errors.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { EventHandlerOptions } from '../server/server.ts';
import { type MessageSchema, recordSubscription } from './metadata.ts';

/** What {@link Subscribe} may be told. */
export interface SubscribeOptions extends EventHandlerOptions {
  /** Message type of the handler's `.proto` that the event is: `places.Visited`. */
  readonly message?: string | undefined;
  /** What an event looks like, where there is no `.proto`; each is validated. */
  readonly schema?: MessageSchema | undefined;
  /** Around this subscription only, inside its class's. */
  readonly interceptors?: readonly Interceptor[] | undefined;
}

// Only `any` accepts whatever an event is.
// oxlint-disable-next-line typescript/no-explicit-any
type AnyEvent = any;

/** The decorator of a method that handles events: it compiles only on one that gives nothing back. */
export type SubscribeDecorator = <F extends (event: AnyEvent, ctx: Context) => Promise<void> | void>(
  target: object,
  property: string,
  descriptor: TypedPropertyDescriptor<F>,
) => void;

/**
 * Marks a method that handles the events of `topic`: `(event, ctx) => Promise<void>`. Returning acknowledges the event;
 * throwing does not, and what happens then is what `retry` and `deadLetter` say. An event may come twice: see `dedupe`.
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
export function Subscribe(topic: string, options: SubscribeOptions = {}): SubscribeDecorator {
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
        message: `@Subscribe("${topic}") on ${String(property)}: it needs a topic, and a method of instances with a name that is a string`,
      });
    }
    const { message, schema, interceptors, ...rest } = options;
    recordSubscription(target, { property, topic, options: rest, message, schema, interceptors: interceptors ?? [] });
  };
}
