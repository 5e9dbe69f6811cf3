import { checkedOptions } from '../errors/checked-options.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Random, Timers } from '../runtime/runtime.ts';
import { systemRandom, systemTimers } from '../runtime/system.ts';
import type { Broker, Event, EventHeaders } from './broker.ts';
import { capabilitiesOf } from './kit/capabilities.ts';
import * as failures from './kit/failures.ts';
import { deadLetterHeader, headersWithout, orderKeyHeader, redrivesHeader } from './kit/headers.ts';

/** Options of {@link redrive}. */
export interface RedriveOptions {
  /** Topic to which all events are published. @default the topic from which each came */
  readonly to?: string | undefined;
  /**
   * Name of the consumer group that reads the dead letters. On a broker without the capability `replay` it must have
   * subscribed to them before.
   * @default 'tenon-redrive' on a broker with `replay`, and the `deadLetterQueue` of one that has it
   */
  readonly queue?: string | undefined;
  /** Most events to move. @default all */
  readonly limit?: number | undefined;
  /** Chooses the events to move. The others stay, up to 1,000 of them. @default all */
  readonly filter?: ((event: Event) => boolean) | undefined;
  /** Time in milliseconds without a further event after which it ends. @default 2_000 */
  readonly idleMs?: number | undefined;
  /**
   * Time in milliseconds without a first event after which it ends: to join a group takes some brokers seconds, and
   * events that a dead reader had in hand are free only after a while.
   * @default 15_000 on a broker that says `competing: false`, else idleMs
   */
  readonly firstMs?: number | undefined;
  /** Ends it after the event that is being moved. */
  readonly signal?: AbortSignal | undefined;
  readonly random?: Random | undefined;
  readonly timers?: Timers | undefined;
}

/** The outcome of {@link redrive}. */
export interface Redriven {
  /** Events that were published again, and acknowledged. */
  readonly moved: number;
  /**
   * Events that stay: the filter refused them, they do not say from which topic they came, or their handler failed
   * again.
   */
  readonly skipped: number;
}

/** The header with the id of the last redrive that moved an event out of a dead-letter topic. */
export const redriveHeader = 'tenon-redrive';

const defaultQueue = 'tenon-redrive';
const maxSkipped = 1_000;
/** Kafka waits three seconds for further members of a group that is new or empty, and ten for one that has died. */
const slowGroupMs = 15_000;
const ofDeadLetters: ReadonlySet<string> = new Set(Object.values(deadLetterHeader));

/**
 * Publishes the events of a dead-letter topic again, each to the topic from which it came, without the headers of a
 * dead letter and with `tenon-redrives`. An event is acknowledged when it was published: if this fails, or the process
 * dies, no event is lost, and one may come twice. Rejects with the error of the publish. An event that comes back, as
 * its handler fails again, stays: it is not moved twice by one call.
 *
 * FAILED_PRECONDITION (`broker.unsupported`) on a broker that does not store dead letters, or needs a `queue`.
 */
export async function redrive(broker: Broker, topic: string, options: RedriveOptions = {}): Promise<Redriven> {
  checkedOptions('RedriveOptions', options, { limit: {} });
  const { to, filter = () => true, limit = Number.POSITIVE_INFINITY, idleMs = 2_000, signal } = options;
  const { timers = systemTimers, random = systemRandom } = options;
  const { competing = true } = capabilitiesOf(broker);
  const { firstMs = competing ? idleMs : Math.max(idleMs, slowGroupMs) } = options;
  const run = random.uuid();
  const { queue, from } = readerOf(broker, topic, options);
  const reading = { queue, from, deadLetter: false, maxInFlight: maxSkipped + 1, signal } as const;
  const events = broker.pull(topic, reading)[Symbol.asyncIterator]();
  let [moved, skipped] = [0, 0];
  try {
    while (moved < limit && skipped <= maxSkipped) {
      const event = await nextWithin(events, moved + skipped === 0 ? firstMs : idleMs, timers);
      if (!event) break;
      const target = to ?? event.headers[deadLetterHeader.originalTopic];
      if (target === undefined || event.headers[redriveHeader] === run || !filter(event)) {
        // It is released when the iteration is left.
        skipped += 1;
        continue;
      }
      const message = { headers: redrivenHeaders(event, broker, run), body: event.body };
      await broker.publish(target, message, { orderKey: event.headers[orderKeyHeader] });
      await event.ack();
      moved += 1;
    }
  } finally {
    await events.return?.();
  }
  return { moved, skipped };
}

/** Returns the queue that reads, and where it begins. */
function readerOf(
  broker: Broker,
  topic: string,
  { queue }: RedriveOptions,
): { readonly queue: string; readonly from: 'start' | undefined } {
  const { persistent, replay, groups, deadLetterQueue } = capabilitiesOf(broker);
  const refused = (missing: string): never => {
    throw failures.unsupported(String(broker), topic, [missing]);
  };
  if (!persistent || !groups) return refused('redrive needs a broker that stores events for a queue');
  if (replay) return { queue: queue ?? defaultQueue, from: 'start' };
  const known = queue ?? deadLetterQueue;
  if (known !== undefined) return { queue: known, from: undefined };
  return refused('redrive needs the option queue here: the name of one that subscribed to the dead letters before');
}

function redrivenHeaders(event: Event, broker: Broker, run: string): EventHeaders {
  const isLeftOut = (name: string): boolean => ofDeadLetters.has(name) || broker.isControlHeader?.(name) === true;
  const headers = headersWithout(event.headers, isLeftOut);
  headers[redrivesHeader] = String(Number(event.headers[redrivesHeader] ?? 0) + 1);
  headers[redriveHeader] = run;
  return headers;
}

/** Resolves with the next event; with undefined if there is none within the time, or the iteration has ended. */
async function nextWithin(events: AsyncIterator<Event>, idleMs: number, timers: Timers): Promise<Event | undefined> {
  const idle = new Error('no further event');
  try {
    const { done, value } = await bounded(events.next(), { timers, timeoutMs: idleMs, onTimeout: () => idle });
    return done === true ? undefined : value;
  } catch (error) {
    if (error === idle) return undefined;
    throw error;
  }
}
