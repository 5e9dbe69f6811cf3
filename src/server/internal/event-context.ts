import { Context, type ContextInit } from '../../context/context.ts';

/** The context of an event that is being handled. */
export class EventContext extends Context {
  readonly #topic: string;

  constructor(init: ContextInit, topic: string) {
    super(init);
    this.#topic = topic;
  }

  override get topic(): string {
    return this.#topic;
  }
}
