import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

import type { Timers } from '../runtime/runtime.ts';
import {
  type MqttPublication,
  MqttRefusal,
  type MqttSecurity,
  type MqttSessionOptions,
  type MqttVersion,
  protocolNumbers,
  type PublishPacket,
  type RefusedStep,
} from './mqtt.ts';

type Listener<T> = (value: T) => void;
type Callback<T extends unknown[] = []> = (error?: Error | null, ...values: T) => void;
type PublishCallback = Callback<[packet?: { readonly messageId?: number }]>;

interface ServerProperties {
  readonly maximumPacketSize?: number;
  readonly receiveMaximum?: number;
}

interface ReceivedPacket {
  readonly cmd: string;
  readonly messageId?: number;
  readonly reasonCode?: number;
}

/** The parts of a client of the library that are used. Its own types need those of browsers. */
export interface MqttClient {
  readonly connected: boolean;
  readonly disconnecting: boolean;
  handleMessage: (packet: PublishPacket, done: Callback) => void;
  on(event: 'error', listener: Listener<Error>): unknown;
  on(event: 'close', listener: () => void): unknown;
  on(event: 'packetreceive', listener: Listener<ReceivedPacket>): unknown;
  on(event: 'disconnect', listener: Listener<{ readonly reasonCode?: number }>): unknown;
  on(
    event: 'connect',
    listener: Listener<{ readonly sessionPresent: boolean; readonly properties?: ServerProperties }>,
  ): unknown;
  connect(): unknown;
  publish(topic: string, payload: Buffer, options: object, callback: PublishCallback): unknown;
  subscribe(
    filter: string,
    options: object,
    callback: Callback<[granted?: unknown, packet?: { readonly granted?: readonly unknown[] }]>,
  ): unknown;
  end(force: boolean, options?: object): unknown;
}

/** The client library. */
export interface MqttLibrary {
  readonly MqttClient: new (makeStream: () => Socket, options: object) => MqttClient;
  readonly ReasonCodes: Readonly<Record<number, string>>;
}

/** A method of the library that it does not publish: it acknowledges events only when they have been received. */
interface PacketSender {
  _sendPacket(packet: { readonly cmd: 'puback'; readonly messageId: number; readonly reasonCode: 0 }): void;
}

const qosNotSupported = 0x9b;
const noMatchingSubscribers = 0x10;

/** The parts of a {@link MqttConnection}. */
export interface ConnectionInit {
  readonly library: MqttLibrary;
  readonly timers: Timers;
  readonly host: string;
  readonly port: number;
  readonly security: MqttSecurity;
  readonly version: MqttVersion;
  readonly keepaliveS: number;
  /** Time for the server to accept the connection, in milliseconds. */
  readonly timeoutMs: number;
  readonly session: MqttSessionOptions;
}

interface WaitingPublish {
  readonly send: () => void;
  readonly reject: (error: unknown) => void;
}

// Message ids are numbers of 16 bits, which subscriptions need as well.
const maxPublishing = 10_000;
const closed = 'has closed the connection';
/** Ends the library's handling of an event without an acknowledgement. */
const later = new Error('it is acknowledged when it has been handled');

/** One connection to a server, which does not connect again: from CONNECT to its end. */
export class MqttConnection {
  readonly client: MqttClient;
  /** True if the server has kept the session. */
  hasSession = false;
  /** Largest packet that the server takes, in bytes; `undefined` if it does not say. */
  maxPacketBytes: number | undefined;
  readonly #init: ConnectionInit;
  readonly #socket: Socket;
  readonly #publishing = new Set<(error: unknown) => void>();
  readonly #waiting = new Set<WaitingPublish>();
  /** Ids of messages to topics that nobody has subscribed to, until their publishers are told. */
  readonly #unmatched = new Set<number>();
  #maxPublishing = maxPublishing;
  #isOpen = false;
  #isEnded = false;
  #lastError: unknown;
  #onOpen: (() => void) | undefined;
  #onFailure: ((error: unknown) => void) | undefined;

  /** Connects. Resolves when the server has accepted it. An abort of the signal ends the attempt. */
  static async open(init: ConnectionInit, signal: AbortSignal): Promise<MqttConnection> {
    signal.throwIfAborted();
    const connection = new MqttConnection(init);
    const abort = (): void => connection.destroy(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        connection.#onOpen = resolve;
        connection.#onFailure = reject;
        connection.client.connect();
      });
    } finally {
      signal.removeEventListener('abort', abort);
    }
    return connection;
  }

  private constructor(init: ConnectionInit) {
    const { library, version, keepaliveS, timeoutMs } = init;
    const { clientId, clean, expiryS, receiveMaximum } = init.session;
    const { username, password } = init.security;
    this.#init = init;
    this.#socket = socketOf(init);
    this.#socket.on('error', (error) => (this.#lastError ??= error));
    const properties = {
      ...(expiryS !== undefined && { sessionExpiryInterval: expiryS }),
      ...(receiveMaximum !== undefined && { receiveMaximum }),
    };
    this.client = new library.MqttClient(() => this.#socket, {
      manualConnect: true,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      connectTimeout: timeoutMs,
      protocolVersion: protocolNumbers[version],
      clientId,
      clean,
      keepalive: keepaliveS,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(version === '5' && { properties }),
    });
    this.#listen();
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /**
   * Resolves when the server has the message, with false if it says that nobody has subscribed to the topic, since
   * MQTT 5. Rejects, without a repetition, when the connection ends before. While the server takes no more, it waits:
   * `onWaiting` gets a function that takes it back, and returns false if it is too late.
   */
  publish(message: MqttPublication, onWaiting: (withdraw: () => boolean) => void): Promise<boolean> {
    const { topic, payload, properties } = message;
    return new Promise((resolve, reject) => {
      const options = { qos: 1, ...(properties && { properties }) };
      const send = (): void => {
        this.#publishing.add(reject);
        this.client.publish(topic, payload, options, (error, packet) => {
          const refused = error && refusal('publish', error);
          // Any other error is the end of the connection, which says why.
          if (error && !(refused instanceof MqttRefusal)) return;
          if (!this.#publishing.delete(reject)) return;
          if (refused) reject(refused);
          else resolve(packet?.messageId === undefined || !this.#unmatched.delete(packet.messageId));
          this.#sendNext();
        });
      };
      if (this.#publishing.size < this.#maxPublishing) return send();
      const waiting = { send, reject };
      this.#waiting.add(waiting);
      onWaiting(() => this.#waiting.delete(waiting));
    });
  }

  /** Subscribes with acknowledgements. */
  subscribe(filter: string): Promise<void> {
    return new Promise((resolve, reject) => {
      // Retained events are of the past.
      this.client.subscribe(filter, { qos: 1, rh: 2 }, (error, _granted, packet) => {
        const code = Number(packet?.granted?.[0] ?? 0);
        const why =
          code === 0 ? 'it acknowledges no events (QoS 1)' : `the subscription to ${filter} is refused (${code})`;
        if (code >= 0x80) reject(new MqttRefusal('subscribe', code, why));
        else if (error) reject(this.#lastError ?? new Error(closed));
        else if (code === 0) reject(new MqttRefusal('subscribe', qosNotSupported, why));
        else resolve();
      });
    });
  }

  /** Sends the acknowledgement of an event that this connection has received. */
  acknowledge(messageId: number): void {
    if (this.#isEnded || !this.client.connected || this.client.disconnecting) return;
    (this.client as unknown as PacketSender)._sendPacket({ cmd: 'puback', messageId, reasonCode: 0 });
  }

  /**
   * Ends the connection when all has been sent. `expiryS` changes how long the server keeps the session, since MQTT 5.
   */
  async end(expiryS?: number): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const { timers, timeoutMs, version } = this.#init;
    const properties = version === '5' && expiryS !== undefined ? { sessionExpiryInterval: expiryS } : undefined;
    await new Promise<void>((resolve) => {
      this.#socket.once('close', () => resolve());
      // A server that hangs does not close it.
      const timer = timers.after(timeoutMs, () => this.#socket.destroy());
      this.#socket.once('close', () => timer.cancel());
      this.client.end(false, properties && { properties });
    });
    this.#fail(new Error('the broker was disconnected'));
  }

  /** Ends the connection at once. */
  destroy(error: unknown = new Error('the broker was disconnected')): void {
    this.#isEnded = true;
    this.#lastError ??= error;
    this.client.end(true);
    this.#socket.destroy();
    this.#fail(error);
  }

  #listen(): void {
    const { client } = this;
    // The library says errors with a code, of sockets too, before the end.
    client.on('error', (error) => {
      this.#lastError ??= refusal('connect', error);
      this.#socket.destroy();
    });
    client.on('packetreceive', ({ cmd, messageId, reasonCode }) => {
      // Publishers are not given it by the library.
      if (reasonCode === noMatchingSubscribers && cmd === 'puback' && messageId !== undefined)
        this.#unmatched.add(messageId);
    });
    client.on('disconnect', ({ reasonCode = 0 }) => {
      if (reasonCode >= 0x80)
        this.#lastError = new MqttRefusal(
          'connection',
          reasonCode,
          this.#words(reasonCode, 'it has ended the connection'),
        );
    });
    client.on('connect', ({ sessionPresent, properties }) => {
      this.hasSession = sessionPresent;
      this.maxPacketBytes = properties?.maximumPacketSize;
      this.#maxPublishing = Math.min(maxPublishing, properties?.receiveMaximum ?? maxPublishing);
      this.#isOpen = true;
      this.#onOpen?.();
    });
    client.on('close', () => {
      const error = this.#whyClosed();
      const wasEnded = this.#isEnded;
      this.#isEnded = true;
      this.#fail(error);
      if (this.#isOpen && !wasEnded) this.#init.session.onEnd(error);
    });
    client.handleMessage = (packet, done) => {
      this.#init.session.onPacket?.(packet);
      done(packet.qos === 0 ? undefined : later);
    };
  }

  #whyClosed(): unknown {
    const error = this.#lastError;
    const isCut = error === undefined || /^(?:ECONNRESET|EPIPE)$/.test(String((error as NodeJS.ErrnoException).code));
    if (this.#isOpen || !isCut) return error ?? new Error(closed);
    return new Error(`${closed} before it answered`, { cause: error });
  }

  #words(code: number, fallback: string): string {
    return this.#init.library.ReasonCodes[code] ?? fallback;
  }

  #sendNext(): void {
    for (const waiting of this.#waiting) {
      if (this.#publishing.size >= this.#maxPublishing) return;
      this.#waiting.delete(waiting);
      waiting.send();
    }
  }

  #fail(error: unknown): void {
    this.#onFailure?.(error);
    const open = [...this.#publishing, ...Array.from(this.#waiting, ({ reject }) => reject)];
    this.#publishing.clear();
    this.#waiting.clear();
    for (const reject of open) reject(error);
  }
}

function socketOf({ host, port, security: { tls } }: ConnectionInit): Socket {
  // RFC 6066, section 3: literal addresses are no names.
  const named = isIP(host) === 0 && { servername: host };
  const socket = tls ? connectTls({ ...named, ...tls, host, port }) : connectTcp({ host, port });
  return socket.setNoDelay();
}

/** The refusal that an error of the library is, or the error itself. */
function refusal(step: RefusedStep, error: Error): Error {
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'number' ? new MqttRefusal(step, code, error.message) : error;
}
