import { textOf } from '../../errors/errors.ts';
import { bounded } from '../../runtime/bounded.ts';
import type { Random, Runtime, Timer } from '../../runtime/runtime.ts';
import type { Logger } from '../../logger/logger.ts';
import type { Nats, NatsError, NatsListener, NatsMessage, NatsSubscription } from '../../nats/nats.ts';
import { SubscriptionGroup } from '../../nats/subscription-group.ts';
import { NatsSocket, type PacketSender } from './nats-socket.ts';
import { type Packet, PacketKind, readPacket, writePacket } from './packet.ts';

/** Options of a {@link NatsExchange}. */
export interface NatsExchangeOptions {
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** Makes the client. */
  readonly connect: (listener: NatsListener) => Nats;
  /** Time for NATS to be connected to, in milliseconds. */
  readonly timeoutMs: number;
  /** The beginning of the subjects of this process. */
  readonly inboxPrefix: string;
  /** Explains an error of the connection to NATS. */
  readonly explain: (error: unknown) => Error;
  /** Called when the connection to NATS is closed. */
  onClosed(): void;
}

// The process lives while this timer runs. It never has anything to do.
const holdMs = 2 ** 30;
const none = Buffer.alloc(0);

function wordOf(random: Pick<Random, 'uuid'>): string {
  return random.uuid().replaceAll('-', '');
}

/** The connections of a process over NATS: each has a subject here, and all subjects one subscription. */
export class NatsExchange implements PacketSender {
  readonly #options: NatsExchangeOptions;
  readonly #nats: Nats;
  readonly #prefix: string;
  readonly #sockets = new Map<string, NatsSocket>();
  /** Probes that wait for an answer, by their subjects. */
  readonly #probes = new Map<string, (isThere: boolean) => void>();
  readonly #inbox: SubscriptionGroup;
  readonly #listening = new Set<string>();
  #listeners = 0;
  #isLeaving = false;
  #holders = 0;
  #hold: Timer | undefined;

  constructor(options: NatsExchangeOptions) {
    this.#options = options;
    this.#prefix = `${options.inboxPrefix}.${wordOf(options.runtime.random)}`;
    this.#nats = options.connect({
      onConnected: (isFirst) => this.#onConnected(isFirst),
      onLost: (error) => this.#onLost(error),
      onRefused: (error) => this.#onRefused(error),
    });
    this.#inbox = new SubscriptionGroup(this.#nats, [`${this.#prefix}.*`], (message) => this.#onMessage(message));
  }

  get maxPayload(): number {
    return this.#nats.maxPayload;
  }

  send(subject: string, reply: string | undefined, packet: Buffer): boolean {
    return this.#nats.publish({ subject, reply, payload: packet });
  }

  hold(isHeld: boolean): void {
    this.#holders += isHeld ? 1 : -1;
    if (this.#holders > 0) {
      this.#hold ??= this.#options.runtime.timers.every(holdMs, () => {}, { keepAlive: true });
      return;
    }
    this.#hold?.cancel();
    this.#hold = undefined;
  }

  forget(socket: NatsSocket): void {
    this.#sockets.delete(socket.own);
    this.#closeIfIdle();
  }

  /** Opens a connection to whoever listens to a subject. */
  dial(subject: string): NatsSocket {
    const socket = this.#make(subject, true);
    this.#ready(subject).then(
      () => socket.open(),
      (error: unknown) => socket.destroy(error as Error),
    );
    return socket;
  }

  /** Takes the connections to a subject. Rejects with the error of NATS. */
  async listen(subject: string, onSocket: (socket: NatsSocket) => void): Promise<NatsSubscription> {
    const byPeer = new Map<string, NatsSocket>();
    this.#listeners += 1;
    const subscription = this.#nats.subscribe(subject, ({ reply, payload }) => {
      const packet = readPacket(payload);
      if (!packet || reply === undefined) return;
      if (packet.kind === PacketKind.Probe) {
        this.#answerClose(reply, packet);
        return;
      }
      let socket = byPeer.get(reply);
      if (!socket) {
        // A connection that is over here, or whose beginning was lost.
        if (packet.number !== 0 || packet.kind !== PacketKind.Data) {
          this.#answerClose(reply, packet);
          return;
        }
        socket = this.#make(reply, false);
        socket.once('close', () => byPeer.delete(reply));
        byPeer.set(reply, socket);
        onSocket(socket);
        socket.receive(packet, reply);
        socket.accept();
        return;
      }
      socket.receive(packet, reply);
    });
    let isEnded = false;
    const unsubscribe = (): void => {
      if (isEnded) return;
      isEnded = true;
      subscription.unsubscribe();
      this.#listening.delete(subject);
      this.#listeners -= 1;
      this.#closeIfIdle();
    };
    try {
      await this.#ready(subject);
      this.#listening.add(subject);
    } catch (error) {
      unsubscribe();
      throw error;
    }
    return { unsubscribe };
  }

  /** Returns true if somebody listens to a subject. Rejects with the error of NATS. */
  async isListenedTo(subject: string): Promise<boolean> {
    await this.#ready(subject);
    const own = this.#nextSubject();
    const payload = writePacket(PacketKind.Probe, 0, none);
    let timer: Timer | undefined;
    try {
      return await new Promise<boolean>((resolve, reject) => {
        const { runtime, timeoutMs } = this.#options;
        // Who listens and does not answer is there all the same.
        timer = runtime.timers.after(timeoutMs, () => resolve(true), { keepAlive: true });
        this.#probes.set(own, resolve);
        this.#bounded((signal) => this.#nats.deliver([{ subject, reply: own, payload }], signal)).catch(reject);
      });
    } finally {
      this.#probes.delete(own);
      timer?.cancel();
    }
  }

  /** Closes the connection to NATS when no listener and no connection is left that needs it. */
  leave(): void {
    this.#isLeaving = true;
    this.#closeIfIdle();
  }

  #closeIfIdle(): void {
    if (!this.#isLeaving || this.#listeners > 0 || this.#sockets.size > 0) return;
    this.#nats.close();
    this.#options.onClosed();
  }

  #make(peer: string, isClient: boolean): NatsSocket {
    const socket = new NatsSocket({ sender: this, own: this.#nextSubject(), peer, isClient });
    this.#sockets.set(socket.own, socket);
    return socket;
  }

  #nextSubject(): string {
    // Known to its peer alone: others that know one of them cannot write to the next.
    return `${this.#prefix}.${wordOf(this.#options.runtime.random)}`;
  }

  /** Resolves when NATS is connected and has all subscriptions. Rejects with the error of NATS. */
  #ready(subject: string): Promise<void> {
    return this.#bounded((signal) => this.#inbox.open(signal, [subject]));
  }

  async #bounded(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { timeoutMs, runtime } = this.#options;
    try {
      await bounded(work, {
        timers: runtime.timers,
        timeoutMs,
        onTimeout: (ms) => new Error(`it did not answer within ${Math.round(ms)} ms`),
      });
    } catch (error) {
      throw this.#options.explain(error);
    }
  }

  #onMessage({ subject, reply, payload, isNobodyThere }: NatsMessage): void {
    const probe = this.#probes.get(subject);
    if (probe) {
      probe(isNobodyThere !== true);
      return;
    }
    const socket = this.#sockets.get(subject);
    if (isNobodyThere === true) {
      socket?.onNobodyThere();
      return;
    }
    const packet = readPacket(payload);
    if (!packet) return;
    if (socket) socket.receive(packet, reply);
    else if (reply !== undefined) this.#answerClose(reply, packet);
  }

  /** Tells the other end that its connection is over here. */
  #answerClose(peer: string, { kind }: Packet): void {
    if (kind !== PacketKind.Close) this.send(peer, undefined, writePacket(PacketKind.Close, 0, none));
  }

  #onConnected(isFirst: boolean): void {
    if (!isFirst) this.#options.logger.info('connected to NATS again');
  }

  #onLost(error: Error): void {
    this.#options.logger.warn('the connection to NATS is lost; it is connected to again', {
      error: this.#options.explain(error),
    });
    for (const socket of this.#sockets.values())
      socket.destroy(new Error(`the connection to NATS was lost (${textOf(error)})`));
    for (const probe of this.#probes.values()) probe(false);
  }

  /** Ends the connections whose packets NATS refuses. Whoever listens hears of it by the log alone. */
  #onRefused(refusal: NatsError): void {
    const { subject } = refusal;
    if (subject === undefined) return;
    const error = this.#options.explain(refusal);
    if (this.#listening.has(subject))
      this.#options.logger.error('NATS denies a subject of this process: calls do not reach it', { subject, error });
    for (const socket of this.#sockets.values()) if (socket.peer === subject) socket.destroy(error);
  }
}
