import { createHash } from 'node:crypto';

import { MqttRefusal, sessionTakenOver } from '../../mqtt/mqtt.ts';
import type { Clock, Runtime } from '../../runtime/runtime.ts';
import type { ReceiveRequest } from '../kit/driver.ts';
import { type MqttSession, RecentIds } from './subscription.ts';

const maxAcknowledged = 2_000;
/** A connection that was ended so often soon after its begin, while another to the same server stood, has a rival. */
const maxEnds = 5;
const soonMs = 10_000;

/** The session of one subscription of this process. */
export class Session implements MqttSession {
  readonly clientId: string;
  readonly isDurable: boolean;
  readonly acknowledged = new RecentIds(maxAcknowledged);
  readonly key: string;
  readonly #clock: Clock;
  #isOpen = false;
  /** The connection that publishes, at the time when the one of the session was opened. */
  #main: object | undefined;
  #openedAtMs = 0;
  #ends = 0;

  constructor(key: string, clientId: string, isDurable: boolean, clock: Clock) {
    this.key = key;
    this.clientId = clientId;
    this.isDurable = isDurable;
    this.#clock = clock;
  }

  /** True if it has been in use. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  opened(main: object): void {
    this.#isOpen = true;
    this.#main = main;
    this.#openedAtMs = this.#clock.monotonicMs();
  }

  /**
   * Called before it is opened again. Throws if another connection takes it over again and again, which a server
   * without MQTT 5 does not say: the two would end each other without end.
   */
  assertAlone(main: object): void {
    const wasOpen = this.#main;
    if (!wasOpen) return;
    this.#main = undefined;
    const isSoon = this.#clock.monotonicMs() - this.#openedAtMs < soonMs;
    this.#ends = wasOpen === main && isSoon ? this.#ends + 1 : 0;
    if (this.#ends < maxEnds) return;
    const message = `its connection was ended ${this.#ends} times, as if another one had its client id`;
    throw new MqttRefusal('connection', sessionTakenOver, message);
  }
}

/** Names the sessions of a broker: after a new start, subscriptions have those that they had before. */
export class Sessions {
  readonly #clientId: string | undefined;
  readonly #base: string;
  readonly #runtime: Pick<Runtime, 'clock' | 'random'>;
  readonly #inUse = new Set<string>();
  readonly #ofRequests = new WeakMap<ReceiveRequest, Session>();

  constructor(clientId: string | undefined, runtime: Pick<Runtime, 'clock' | 'random'>) {
    this.#clientId = clientId;
    this.#runtime = runtime;
    this.#base = clientId ?? `tenon-${runtime.random.uuid().slice(0, 8)}`;
  }

  /** A client id for a connection that has no session. */
  publisherId(): string {
    return `${this.#base}-${this.#runtime.random.uuid().slice(0, 8)}`;
  }

  /** The session of a subscription: the same whenever it is made again. */
  of(request: ReceiveRequest): Session {
    const known = this.#ofRequests.get(request);
    if (known) return known;
    const { topic, queue, mode } = request;
    const [isWatch, isDurable] = [mode === 'watch', queue !== undefined && this.#clientId !== undefined];
    let key = '';
    // Several members of one queue in one process are numbered.
    for (let member = 0; key === '' || this.#inUse.has(key); member += 1)
      key = JSON.stringify([topic, queue ?? null, isWatch, member]);
    this.#inUse.add(key);
    const clientId = `${this.#base}-${createHash('sha256').update(key).digest('hex').slice(0, 12)}`;
    const session = new Session(key, clientId, isDurable && !isWatch, this.#runtime.clock);
    this.#ofRequests.set(request, session);
    return session;
  }

  /** Gives the name of an ended subscription to the next one of the same kind. May be called again. */
  forget(request: ReceiveRequest): void {
    const session = this.#ofRequests.get(request);
    if (session && this.#ofRequests.delete(request)) this.#inUse.delete(session.key);
  }
}
