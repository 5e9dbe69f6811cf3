import type { MqttConnection } from '../../mqtt/connection.ts';
import type { PublishPacket } from '../../mqtt/mqtt.ts';
import type { Timer, Timers } from '../../runtime/runtime.ts';
import type { DriverSubscription, EventSink, IncomingEvent } from '../kit/driver.ts';
import { readPacket } from './messages.ts';

/** An event, with what settles it. */
export interface MqttEvent extends IncomingEvent {
  readonly topic: string;
  /** Undefined for an event that the server sends once (QoS 0). */
  readonly messageId: number | undefined;
  isSettled: boolean;
}

/** The session of a subscription at the server. It outlives connections. */
export interface MqttSession {
  readonly clientId: string;
  /** True if it stores events while the subscription is away, also after the end of the process. */
  readonly isDurable: boolean;
  /** Ids of events that were acknowledged, of which the server may not have heard. */
  readonly acknowledged: RecentIds;
}

/** The parts of a {@link MqttSubscription}. */
export interface SubscriptionInit {
  readonly session: MqttSession;
  readonly sink: EventSink<MqttEvent>;
  readonly isWatch: boolean;
  readonly timers: Timers;
  /** Called when an event that the server sends once (QoS 0) is dropped: as many wait already as may. */
  onDrop(): void;
  /** Ends the session, or only its connection, when the subscription has ended. */
  readonly onClose: (connection: MqttConnection) => Promise<void>;
}

const maxUnconfirmed = 10_000;

/** A set of the ids that were added last. */
export class RecentIds {
  readonly #ids = new Set<string>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  add(id: string): void {
    this.#ids.delete(id);
    this.#ids.add(id);
    if (this.#ids.size <= this.#max) return;
    for (const oldest of this.#ids) {
      this.#ids.delete(oldest);
      return;
    }
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }
}

/**
 * A subscription with a connection of its own: without MQTT 5 nothing else would say to which of several an event
 * belongs. Events are acknowledged in the order of their arrival (MQTT 5, section 4.6): one that is not settled holds
 * back the acknowledgements of those after it, though not their handling.
 */
export class MqttSubscription implements DriverSubscription<MqttEvent> {
  /** Events that are left stay in a session that is durable. From others they would be lost: they are handled. */
  release?: (events: readonly MqttEvent[]) => void;
  readonly #init: SubscriptionInit;
  /** In the order of arrival, from the first one without an acknowledgement. */
  readonly #arrived: MqttEvent[] = [];
  readonly #delays = new Set<Timer>();
  /** Events that came before the first `resume`: they could not be settled yet. */
  #early: MqttEvent[] | undefined = [];
  #connection: MqttConnection | undefined;
  #isStopped = false;
  /** Events of QoS 0 that are not settled: the server sends them whatever their receiver does. */
  #unconfirmed = 0;
  #isDropping = false;

  constructor(init: SubscriptionInit) {
    this.#init = init;
    if (init.session.isDurable) this.release = () => {};
  }

  /** Sets the connection. Events may have come from it already. */
  attach(connection: MqttConnection): void {
    this.#connection = connection;
  }

  get waiting(): number {
    return this.#delays.size;
  }

  resume(): void {
    const early = this.#early;
    this.#early = undefined;
    for (const event of early ?? []) this.#deliver(event);
  }

  onPacket(packet: PublishPacket): void {
    const { sink, session } = this.#init;
    const { messageId, topic, dup, retain } = packet;
    const { id, headers, body } = readPacket(packet);
    const isKnown = dup && id !== undefined && session.acknowledged.has(id);
    const event: MqttEvent = {
      ...(id !== undefined && { id }),
      topic,
      headers,
      body,
      attempt: 1,
      messageId: packet.qos > 0 ? messageId : undefined,
      // Retained events are of the past.
      isSettled: isKnown || retain || this.#init.isWatch,
    };
    if (event.messageId !== undefined) this.#arrived.push(event);
    if (!isKnown && !retain && !sink.isStopped && this.#hasRoom(event)) {
      if (this.#early) this.#early.push(event);
      else this.#deliver(event);
    }
    this.#acknowledge();
  }

  ack(events: readonly MqttEvent[]): void {
    for (const event of events) {
      event.isSettled = true;
      if (event.messageId === undefined) this.#unconfirmed -= 1;
      if (event.id !== undefined) this.#init.session.acknowledged.add(event.id);
    }
    this.#acknowledge();
  }

  /** The server would redeliver it only after a reconnect. */
  nack(event: MqttEvent, delayMs: number): void {
    const timer = this.#init.timers.after(delayMs, () => {
      this.#delays.delete(timer);
      this.#deliver(event);
    });
    this.#delays.add(timer);
  }

  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#delays) timer.cancel();
    this.#delays.clear();
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    const wasStopped = this.#isStopped;
    this.stop();
    if (!connection) return;
    if (wasStopped) await this.#init.onClose(connection);
    else connection.destroy();
  }

  #deliver(event: MqttEvent): void {
    if (!this.#isStopped) this.#init.sink.deliver(event);
  }

  #hasRoom({ messageId }: MqttEvent): boolean {
    if (messageId !== undefined || this.#init.isWatch) return true;
    if (this.#unconfirmed === 0) this.#isDropping = false;
    if (this.#unconfirmed < maxUnconfirmed) {
      this.#unconfirmed += 1;
      return true;
    }
    if (!this.#isDropping) this.#init.onDrop();
    this.#isDropping = true;
    return false;
  }

  #acknowledge(): void {
    const connection = this.#connection;
    if (!connection) return;
    for (;;) {
      const [first] = this.#arrived;
      if (!first?.isSettled) return;
      this.#arrived.shift();
      connection.acknowledge(first.messageId as number);
    }
  }
}
