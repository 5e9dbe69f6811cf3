import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

import type { Clock, Timer, Timers } from '../runtime/runtime.ts';
import { NatsError, type NatsPublication } from './nats.ts';
import {
  connectOperation,
  errorOf,
  isPassing,
  MalformedOperation,
  type MessageOperation,
  type NatsCredentials,
  OperationReader,
  pingOperation,
  pongOperation,
  publishOperation,
  refusesSubscription,
  type ServerInfo,
  type ServerOperation,
} from './protocol.ts';

/** The parts of a {@link Connection}. */
export interface ConnectionInit {
  readonly address: { readonly host: string; readonly port: number };
  readonly tls: ConnectionOptions | undefined;
  readonly credentials: NatsCredentials;
  /** A name for people who look at the connections of a server. */
  readonly name: string;
  readonly clock: Clock;
  readonly timers: Timers;
  /** A larger payload is passed over, in bytes. */
  readonly maxPayloadBytes: number;
  /** A server that is asked, and says nothing for so long, is given up, in milliseconds. */
  readonly maxSilenceMs: number;
  /** Asks the server to say where nobody listens to a message with a reply. */
  readonly tellsNobodyThere: boolean;
  onMessage(message: MessageOperation): void;
  /** Called with a refusal after which the server keeps the connection. */
  onRefused(error: NatsError): void;
}

/** A PING that waits for its answer. */
interface PendingPing {
  readonly onAnswer: () => void;
  readonly onError: (error: Error) => void;
  /** Refusals that came since the answer before: what they are about was sent before this PING. */
  readonly refusals: NatsError[];
}

// What waits to be written may not take more, as behind a server that does not read. A server's own bound is the same.
const maxPendingBytes = 67_108_864;
// Half of the line that a server takes (max_control_line).
const maxSubjectBytes = 2_048;

/**
 * One connection to one server, from its handshake on. It pings a server that says nothing, and ends when that does not
 * answer, or sends what the protocol does not allow.
 */
export class Connection {
  /** Resolves when it has ended, with the reason. */
  readonly ended: Promise<Error>;
  readonly #init: ConnectionInit;
  readonly #reader: OperationReader;
  #socket: Socket;
  #info: ServerInfo | undefined;
  #isOpen = false;
  #pings: PendingPing[] = [];
  #beat: Timer | undefined;
  #heardAtMs: number;
  #beatAtMs = 0;
  #isCorked = false;
  #whyEnded: Error | undefined;
  #onOpen: (() => void) | undefined;
  #onEnd: ((error: Error) => void) | undefined;

  /** Connects, and resolves when the server has accepted the credentials. An abort of the signal ends the attempt. */
  static async open(init: ConnectionInit, signal: AbortSignal): Promise<Connection> {
    const connection = new Connection(init);
    const abort = (): void => connection.close(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        connection.#onOpen = resolve;
        void connection.ended.then(reject);
      });
    } finally {
      signal.removeEventListener('abort', abort);
    }
    return connection;
  }

  private constructor(init: ConnectionInit) {
    const { host, port } = init.address;
    this.#init = init;
    this.#reader = new OperationReader(init.maxPayloadBytes);
    this.#heardAtMs = init.clock.monotonicMs();
    this.ended = new Promise((resolve) => (this.#onEnd = resolve));
    this.#socket = this.#listen(connectTcp({ host, port }).setNoDelay());
  }

  /** The largest payload that the server takes, in bytes. */
  get maxPayload(): number {
    return this.#info?.maxPayload ?? 0;
  }

  /** Publishes a message. Throws a {@link NatsError} for one that cannot be sent. */
  publish(message: NatsPublication): void {
    const { subject, reply = '', payload } = message;
    // A reply is as long as a stranger likes, and a line that is too long ends the connection.
    const subjectBytes = Buffer.byteLength(subject) + Buffer.byteLength(reply);
    if (subjectBytes > maxSubjectBytes) {
      const why = `the subjects of the message take ${subjectBytes} bytes, and no more than ${maxSubjectBytes} are sent`;
      throw new NatsError('tooLarge', why, { subject });
    }
    const length = Buffer.byteLength(payload);
    const { maxPayload = 0 } = this.#info ?? {};
    // The server would close the connection.
    if (length > maxPayload) {
      const why = `the message takes ${length} bytes, and the server takes no more than ${maxPayload} (max_payload)`;
      throw new NatsError('tooLarge', why, { subject });
    }
    if (this.#socket.writableLength > maxPendingBytes)
      throw new NatsError('unreachable', 'the server does not read what it is sent');
    this.write(publishOperation(message));
  }

  /**
   * Resolves when the server has processed all that was sent before. Rejects with a refusal of one of the subjects
   * among that, or with the reason when the connection ends.
   */
  flush(subjects: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#whyEnded) return reject(this.#whyEnded);
      const refusals: NatsError[] = [];
      const onAnswer = (): void => {
        const refusal = refusals.find(({ subject }) => subject === undefined || subjects.includes(subject));
        if (refusal) reject(refusal);
        else resolve();
      };
      this.#ping({ onAnswer, onError: reject, refusals });
    });
  }

  write(bytes: Buffer | string): void {
    if (!this.#isCorked) {
      this.#isCorked = true;
      const socket = this.#socket;
      socket.cork();
      // What one turn sends is written in one piece.
      process.nextTick(() => {
        this.#isCorked = false;
        socket.uncork();
      });
    }
    this.#socket.write(bytes);
  }

  /** Ends it at once. */
  close(error: Error): void {
    if (this.#whyEnded) return;
    this.#whyEnded = error;
    this.#beat?.cancel();
    this.#socket.destroy();
    this.#onEnd?.(error);
    for (const { onError } of this.#pings.splice(0)) onError(error);
  }

  #listen(socket: Socket): Socket {
    socket.on('error', (error) => this.close(error));
    socket.on('close', () => this.close(new NatsError('unreachable', this.#whyClosed())));
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    return socket.unref();
  }

  #whyClosed(): string {
    return `the server closed the connection${this.#isOpen ? '' : ' in the handshake'}`;
  }

  #onData(chunk: Buffer): void {
    try {
      for (const operation of this.#reader.read(chunk)) {
        if (this.#whyEnded) return;
        // Whole operations count: one that never ends is no sign of life.
        this.#heardAtMs = this.#init.clock.monotonicMs();
        this.#onOperation(operation);
      }
    } catch (error) {
      if (!(error instanceof MalformedOperation)) throw error;
      const what = this.#info ? 'the server broke the protocol of NATS' : 'this is no server of NATS';
      this.close(new NatsError('unreachable', `${what}: ${error.message}`, { cause: error }));
    }
  }

  #onOperation(operation: ServerOperation): void {
    switch (operation.kind) {
      case 'info':
        // Later ones tell of changes in the cluster.
        if (this.#info) this.#info = { ...this.#info, maxPayload: operation.info.maxPayload };
        else this.#begin(operation.info);
        return;
      case 'message':
        if (this.#isOpen) this.#init.onMessage(operation);
        return;
      case 'ping':
        return this.write(pongOperation);
      case 'pong':
        return this.#onPong();
      case 'error':
        return this.#onError(operation.text);
      case 'ok':
        return;
    }
  }

  /** Answers the first INFO. Nothing is said in the clear to a server that is to be spoken to over TLS. */
  #begin(info: ServerInfo): void {
    this.#info = info;
    const { tls, tellsNobodyThere } = this.#init;
    if (tellsNobodyThere && !info.hasHeaders) {
      const why = 'the server has no headers, and so does not say where nobody listens: NATS 2.2 does, and later ones';
      this.close(new NatsError('unreachable', why));
    } else if (!tls) {
      if (info.needsTls) this.close(new NatsError('unreachable', 'the server speaks to nobody without TLS'));
      else this.#introduce(false);
    } else if (!info.hasTls) {
      this.close(new NatsError('unreachable', 'the server speaks no TLS, and nothing was said to it'));
    } else if (!this.#reader.isEmpty) {
      // Whoever is in between could have put it there.
      this.close(new NatsError('unreachable', 'the server said more than it may before TLS'));
    } else {
      this.#startTls(tls);
    }
  }

  #startTls(tls: ConnectionOptions): void {
    const { host } = this.#init.address;
    const plain = this.#socket;
    plain.removeAllListeners('data').removeAllListeners('close');
    // RFC 6066, section 3: literal addresses are no names. Without `host` Node would verify the name "localhost".
    const named = isIP(host) === 0 && { servername: host };
    const socket = connectTls({ ...named, ...tls, host, socket: plain });
    this.#socket = this.#listen(socket);
    socket.once('secureConnect', () => this.#introduce(true));
  }

  #introduce(isEncrypted: boolean): void {
    const { name, credentials, tellsNobodyThere } = this.#init;
    const onAnswer = (): void => this.#open();
    this.#pings.push({ onAnswer, onError: () => {}, refusals: [] });
    this.write(connectOperation(name, isEncrypted, credentials, tellsNobodyThere));
  }

  #open(): void {
    const { timers, maxSilenceMs } = this.#init;
    this.#isOpen = true;
    this.#beatAtMs = this.#heardAtMs;
    const beatMs = maxSilenceMs / 4;
    this.#beat = timers.every(beatMs, () => this.#onBeat(beatMs));
    this.#onOpen?.();
  }

  #ping(pending: PendingPing): void {
    this.#pings.push(pending);
    this.write(pingOperation);
  }

  #onPong(): void {
    const ping = this.#pings.shift();
    if (ping) ping.onAnswer();
    else throw new MalformedOperation('it answered a PING that was not sent');
  }

  #onError(text: string): void {
    const error = errorOf(text);
    if (!this.#isOpen || !isPassing(text)) {
      this.close(error);
      return;
    }
    // What is refused was sent before the first PING that has no answer. All that wait for the same subscription are
    // told of it, as they did not ask for it again.
    const told = refusesSubscription(text) ? this.#pings : this.#pings.slice(0, 1);
    for (const { refusals } of told) refusals.push(error);
    this.#init.onRefused(error);
  }

  #onBeat(beatMs: number): void {
    const now = this.#init.clock.monotonicMs();
    // This process itself stood still: what the server sent meanwhile has not been read yet.
    const wasLate = now - this.#beatAtMs > 2 * beatMs;
    this.#beatAtMs = now;
    const silentMs = now - this.#heardAtMs;
    if (!wasLate && silentMs > this.#init.maxSilenceMs && this.#pings.length > 0) {
      this.close(new NatsError('unreachable', `the server said nothing for ${Math.round(silentMs)} ms`));
    } else if (this.#pings.length === 0 && silentMs > beatMs) {
      this.#ping({ onAnswer: () => {}, onError: () => {}, refusals: [] });
    }
  }
}
