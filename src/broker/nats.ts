import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { readEnvelope, writeEnvelope } from '../go-micro/event-envelope.ts';
import type { BrokerDialect } from '../go-micro/go-micro.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities, EventHeaders } from './broker.ts';
import type {
  BrokerDriver,
  DriverHost,
  DriverSubscription,
  ErrorMeaning,
  EventSink,
  IncomingEvent,
  OutgoingEvent,
  ReceiveRequest,
} from './kit/driver.ts';
import type { WireRules } from './kit/name-encoding.ts';
import { type DriverSetup, PortableBroker } from './kit/portable-broker.ts';
import type { Msg, NatsConnection, NatsSubscription } from './nats/library.ts';
import { type NatsConnectionOptions, NatsLink, natsSecurity } from './nats/link.ts';
import { asHeaders, HeaderBlocks, isOfServers, queueNames, readHeaders, whyNotSent } from './nats/messages.ts';

/** Options of a {@link NatsBroker}. */
export interface NatsBrokerOptions extends NatsConnectionOptions {
  /**
   * The form that events are written in; both are read. `go-micro` is the JSON envelope of Go Micro's nats broker.
   * @default 'native'
   */
  readonly dialect?: BrokerDialect | undefined;
  /**
   * Events of one subscription that have arrived and wait for a handler. NATS does not wait: further events are
   * dropped, and a warning is logged.
   * @default 10_000
   */
  readonly maxBacklog?: number | undefined;
}
/** Container key of the {@link NatsBrokerOptions}. */
export const NatsBrokerOptions: ServiceIdentifier<NatsBrokerOptions> = token('broker', 'NatsBrokerOptions');

const needed = { version: '2.2', feature: 'headers' } as const;
const defaultBacklog = 10_000;
const brace = 0x7b;
const none: EventHeaders = Object.freeze({});
const noBlock = Buffer.alloc(0);

/**
 * Events over the subjects of NATS: fast, to the subscribers that are there at the moment, at most once. `publish`
 * resolves when the server has the event. For acknowledgement and events that wait there is `nats-jetstream`.
 */
@injectable()
export class NatsBroker extends PortableBroker implements Broker {
  static readonly capabilities: BrokerCapabilities = {
    persistent: false,
    ack: false,
    nack: false,
    delay: false,
    groups: true,
    attempts: false,
    deadLetter: false,
    order: true,
    replay: false,
    wildcards: true,
    shared: true,
    ...natsSecurity,
  };

  constructor(
    @inject(NatsBrokerOptions) @optional() options: NatsBrokerOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    checkedOptions('NatsBrokerOptions', options, { watchLag: {} });
    const seams = { clock, random, timers, logger };
    super({ name: 'nats', options, seams, makeDriver: (setup) => new SubjectsDriver(options, setup) });
  }
}

/** A driver over the subjects of a NATS, which sends each event to the subscribers of the moment and stores none. */
class SubjectsDriver implements BrokerDriver {
  /** Events of one turn share a PING, whose answer says that the server has them. */
  readonly maxBatch = 1_000;
  readonly wildcards = { one: '*', rest: '>' };
  readonly #link: NatsLink;
  readonly #setup: DriverSetup;
  readonly #isGoMicro: boolean;
  readonly #maxBacklog: number;
  readonly #blocks = new HeaderBlocks();

  constructor({ dialect, maxBacklog = defaultBacklog }: NatsBrokerOptions, setup: DriverSetup) {
    this.#link = new NatsLink('nats', setup, needed);
    this.#setup = setup;
    this.#isGoMicro = dialect === 'go-micro';
    this.#maxBacklog = maxBacklog;
  }

  get address(): string {
    return this.#link.address;
  }

  get wire(): WireRules {
    return this.#link.wire;
  }

  open(host: DriverHost): Promise<void> {
    return this.#link.open(host);
  }

  close(): void {
    this.#link.close();
  }

  publish(events: readonly OutgoingEvent[]): readonly Promise<void>[] {
    const { connection } = this.#link;
    const subjects = new Set<string>();
    const problems = events.map((event) => {
      const problem = this.#send(connection, event);
      if (!problem) subjects.add(event.topic);
      return problem;
    });
    const flushed = subjects.size > 0 ? this.#link.flush(subjects) : undefined;
    const confirmed = new Map<string, Promise<void>>();
    for (const subject of subjects) {
      const done = flushed?.then((refusals) => {
        const refusal = refusals.get(subject);
        if (refusal) throw refusal;
      });
      if (done) confirmed.set(subject, done);
    }
    return events.map(({ topic }, at) => {
      const problem = problems[at];
      return problem ? Promise.reject(problem) : (confirmed.get(topic) as Promise<void>);
    });
  }

  async receive({ topic, isPattern, queue }: ReceiveRequest, sink: EventSink): Promise<DriverSubscription> {
    const link = this.#link;
    // NATS takes groups of one name for one group where their subjects overlap, and gives an event to one of them.
    const group = queue !== undefined && isPattern === true ? `${queue}:${topic}` : queue;
    const name = group === undefined ? {} : { queue: queueNames.encode(group) };
    let subscription: NatsSubscription | undefined;
    // While it subscribes: later ones say that the right was taken away.
    let refusals: Error[] | undefined;
    const callback = (error: Error | null, msg: Msg): void => {
      if (!error) {
        if (isPattern !== true || !isOfServers(msg.subject)) sink.deliver(eventOf(msg));
      } else if (refusals) refusals.push(error);
      else sink.fail(error);
    };
    const subscribe = async (): Promise<void> => {
      refusals = [];
      subscription = link.connection.subscribe(topic, { ...name, callback });
      await link.flush();
      const [refusal] = refusals;
      if (refusal) throw refusal;
      refusals = undefined;
    };
    await subscribe();
    const forget = link.onReconnect(async () => {
      if (sink.isStopped) return;
      try {
        await subscribe();
        const { logger } = this.#setup;
        logger.info('subscribed again after an outage; what was published meanwhile has passed', { topic });
      } catch (error) {
        // Without a connection the next one subscribes.
        if (link.current) sink.fail(error);
      }
    });
    const stop = async (): Promise<void> => {
      forget();
      const last = subscription;
      subscription = undefined;
      if (!last || last.isClosed()) return;
      // What the server has sent already is delivered.
      last.drain().catch(() => undefined);
      await link.settle();
    };
    return { maxBacklog: this.#maxBacklog, stop, close: stop };
  }

  translate(error: unknown): ErrorMeaning {
    return this.#link.translate(error);
  }

  unwrap(): unknown {
    return this.#link.current;
  }

  /** Hands an event to the connection; or gives the reason why it cannot be sent. */
  #send(connection: NatsConnection, event: OutgoingEvent): Error | undefined {
    const { topic, headers, body } = event;
    const { maxPayload } = this.#link;
    if (this.#isGoMicro) {
      const envelope = Buffer.from(writeEnvelope(topic, headers, body));
      const problem = whyNotSent('nats', { ...event, body: envelope }, noBlock, maxPayload);
      if (!problem) connection.publish(topic, envelope);
      return problem;
    }
    // A body that looks like an envelope needs a block, so that it is not taken for one.
    const isBare = body[0] !== brace && Object.keys(headers).length === 0;
    const block = isBare ? noBlock : this.#blocks.write(headers);
    const problem = whyNotSent('nats', event, block, maxPayload);
    if (problem || typeof block === 'string') return problem;
    connection.publish(topic, body, isBare ? {} : { headers: asHeaders(block) });
    return undefined;
  }
}

/** Reads a message. One without headers may be an envelope of Go Micro, or come from a program that uses none. */
function eventOf(msg: Msg): IncomingEvent {
  const headers = readHeaders(msg);
  const { subject: topic, data: body } = msg;
  if (headers) return { topic, headers, body, attempt: 1 };
  const envelope =
    body[0] === brace ? readEnvelope(Buffer.from(body.buffer, body.byteOffset, body.byteLength)) : undefined;
  return { headers: none, body, ...envelope, topic, attempt: 1 };
}
