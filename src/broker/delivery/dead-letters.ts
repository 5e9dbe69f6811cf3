import type { Runtime } from '../../runtime/runtime.ts';
import type { Broker, BrokerCapabilities, Event } from '../broker.ts';
import { publishDeadLetter } from '../kit/dead-letter.ts';
import { deadLetterTopicOf } from '../kit/headers.ts';

/** Most events whose first failure is remembered. */
const maxRemembered = 10_000;

/** The parts of {@link DeadLetters}. */
export interface DeadLettersInit {
  readonly broker: Broker;
  readonly runtime: Pick<Runtime, 'clock'>;
  /** As `DeliveryOptions.deadLetter`. */
  readonly deadLetter: boolean | string;
}

/** Publishes the dead letters of a subscription. */
export class DeadLetters {
  readonly #init: DeadLettersInit;
  /** The times of first failures, by the id of the event. */
  readonly #firstFailedMs = new Map<string, number>();

  constructor(init: DeadLettersInit) {
    this.#init = init;
  }

  /** The topic for a dead letter of an event; `undefined` if events are dropped. */
  topicFor(topic: string): string | undefined {
    const { deadLetter } = this.#init;
    if (deadLetter === false) return undefined;
    return deadLetter === true ? deadLetterTopicOf(topic) : deadLetter;
  }

  /** Notes that an attempt has failed. */
  onFailure(event: Event): void {
    const key = keyOf(event);
    if (this.#firstFailedMs.has(key)) return;
    this.#firstFailedMs.set(key, this.#init.runtime.clock.now());
    if (this.#firstFailedMs.size <= maxRemembered) return;
    for (const oldest of this.#firstFailedMs.keys()) {
      this.#firstFailedMs.delete(oldest);
      return;
    }
  }

  /** Forgets an event that is settled. */
  forget(event: Event): void {
    if (this.#firstFailedMs.size > 0) this.#firstFailedMs.delete(keyOf(event));
  }

  /** Publishes the dead letter of an event. Resolves when its topic has it. */
  async publish(topic: string, event: Event, attempts: number, failure: unknown): Promise<void> {
    const { broker, runtime } = this.#init;
    const { clock } = runtime;
    await publishDeadLetter((...all) => broker.publish(...all), topic, event, {
      attempts,
      failure,
      firstFailedMs: this.#firstFailedMs.get(keyOf(event)),
      clock,
      isControlHeader: (name) => broker.isControlHeader?.(name) ?? false,
    });
  }
}

function keyOf({ topic, id }: Event): string {
  return `${topic} ${id}`;
}

/** True if dead letters are stored for those who look for them later. */
export function storesDeadLetters({ persistent, replay, deadLetterQueue }: BrokerCapabilities): boolean {
  return persistent && (replay || deadLetterQueue !== undefined);
}

/** The log message for an event that was published to its dead-letter topic. */
export function deadLetteredMessage(capabilities: BrokerCapabilities, why: string): string {
  if (storesDeadLetters(capabilities)) return `an event went to its dead-letter topic: ${why}`;
  if (capabilities.persistent)
    return `an event went to its dead-letter topic, for the queues that have subscribed there: ${why}`;
  return `an event is lost, unless somebody reads its dead-letter topic at this moment: ${why}`;
}
