import { NatsError, type NatsMessage, type NatsPublication } from './nats.ts';

/** A server's description of itself. */
export interface ServerInfo {
  /** The largest payload in bytes. */
  readonly maxPayload: number;
  /** The server speaks TLS: to all, or to those who want it. */
  readonly hasTls: boolean;
  /** The server speaks to nobody without TLS. */
  readonly needsTls: boolean;
  /** Messages can have headers, as that by which a server says that nobody listens. */
  readonly hasHeaders: boolean;
}

/** A message, for the subscription with the number `sid`. */
export interface MessageOperation extends NatsMessage {
  readonly kind: 'message';
  readonly sid: number;
}

/** One thing that a server says. */
export type ServerOperation =
  | MessageOperation
  | { readonly kind: 'info'; readonly info: ServerInfo }
  | { readonly kind: 'ping' | 'pong' | 'ok' }
  | { readonly kind: 'error'; readonly text: string };

/** The error for bytes that the protocol does not allow. */
export class MalformedOperation extends Error {}

// A server has no longer line: that of INFO lists the members of a cluster.
const maxLineBytes = 65_536;
const lineEnd = Buffer.from('\r\n');
// The default of a server that does not say it.
const defaultMaxPayload = 1_048_576;

// Subject, number of the subscription, subject for an answer; length of the headers, where there are some, and of all.
const head = /^(\S+)\s+(\d{1,15})\s+(?:(\S+)\s+)?(\d{1,10})$/;
const headWithHeaders = /^(\S+)\s+(\d{1,15})\s+(?:(\S+)\s+)?(\d{1,10})\s+(\d{1,10})$/;

interface MessageHead {
  readonly subject: string;
  readonly sid: number;
  readonly reply: string | undefined;
  /** The length of the headers, which are the first part of the whole. */
  readonly headerLength: number;
  readonly length: number;
}

/** Splits what a server sends into its operations. Larger payloads than `maxPayloadBytes` are passed over. */
export class OperationReader {
  readonly #maxPayloadBytes: number;
  #parts: Buffer[] = [];
  #size = 0;
  /** The number of bytes without which nothing can be read. */
  #needed = 1;
  #head: MessageHead | undefined;
  /** The number of bytes of a payload that are still to be passed over. */
  #skipped = 0;

  constructor(maxPayloadBytes: number) {
    this.#maxPayloadBytes = maxPayloadBytes;
  }

  /** True if nothing of an operation that is not whole is kept. */
  get isEmpty(): boolean {
    return this.#size === 0;
  }

  /** Throws {@link MalformedOperation}. */
  *read(chunk: Buffer): Generator<ServerOperation> {
    this.#parts.push(chunk);
    this.#size += chunk.length;
    while (this.#size >= this.#needed) {
      const bytes = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
      const end = this.#skipped > 0 ? this.#skip(bytes) : this.#endOfNext(bytes);
      if (end === 0) {
        this.#keep(bytes);
        return;
      }
      const operation = this.#next(bytes.subarray(0, end));
      this.#keep(bytes.subarray(end));
      if (operation) yield operation;
    }
  }

  #keep(bytes: Buffer): void {
    this.#parts = bytes.length === 0 ? [] : [bytes];
    this.#size = bytes.length;
  }

  /** The end of the payload or the line at the beginning of `bytes`; 0 if it is not whole yet. */
  #endOfNext(bytes: Buffer): number {
    if (this.#head) return this.#head.length + lineEnd.length;
    const end = bytes.indexOf(lineEnd);
    if (end > maxLineBytes || (end < 0 && bytes.length > maxLineBytes)) {
      throw new MalformedOperation(`it sent a line of more than ${maxLineBytes} bytes`);
    }
    return end < 0 ? 0 : end + lineEnd.length;
  }

  #skip(bytes: Buffer): number {
    return Math.min(this.#skipped, bytes.length);
  }

  #next(bytes: Buffer): ServerOperation | undefined {
    if (this.#skipped > 0) {
      this.#skipped -= bytes.length;
      return undefined;
    }
    if (this.#head) return this.#payload(this.#head, bytes);
    const line = bytes.toString('utf8', 0, bytes.length - lineEnd.length);
    const [name = ''] = /^\S+/.exec(line) ?? [];
    const rest = line.slice(name.length).trim();
    switch (name.toUpperCase()) {
      case 'MSG':
        return this.#begin(rest, false);
      case 'HMSG':
        return this.#begin(rest, true);
      case 'PING':
        return { kind: 'ping' };
      case 'PONG':
        return { kind: 'pong' };
      case '+OK':
        return { kind: 'ok' };
      case '-ERR':
        return { kind: 'error', text: rest.replace(/^'(.*)'$/s, '$1') };
      case 'INFO':
        return { kind: 'info', info: infoOf(rest) };
      default:
        throw new MalformedOperation(`it said ${JSON.stringify(line.slice(0, 40))}`);
    }
  }

  #begin(rest: string, hasHeaders: boolean): ServerOperation | undefined {
    const pattern = hasHeaders ? headWithHeaders : head;
    const [, subject = '', sid = '', reply, headerLength = '0', length = headerLength] = pattern.exec(rest) ?? [];
    if (subject === '' || Number(headerLength) > Number(length))
      throw new MalformedOperation(`it sent a message with the head ${JSON.stringify(rest.slice(0, 40))}`);
    const found = {
      subject,
      sid: Number(sid),
      reply,
      headerLength: hasHeaders ? Number(headerLength) : 0,
      length: Number(length),
    };
    if (found.length > this.#maxPayloadBytes) {
      this.#skipped = found.length + lineEnd.length;
      return { kind: 'message', subject, sid: found.sid, reply, payload: undefined };
    }
    this.#head = found;
    this.#needed = found.length + lineEnd.length;
    return undefined;
  }

  #payload({ length, headerLength, ...message }: MessageHead, bytes: Buffer): ServerOperation {
    if (!bytes.subarray(length).equals(lineEnd)) throw new MalformedOperation('it sent a message without its end');
    this.#head = undefined;
    this.#needed = 1;
    const payload = bytes.subarray(headerLength, length);
    const isNobodyThere = payload.length === 0 && /^NATS\/1\.0 +503\b/.test(bytes.toString('latin1', 0, headerLength));
    return { kind: 'message', ...message, payload, ...(isNobodyThere && { isNobodyThere }) };
  }
}

interface Info {
  readonly max_payload?: unknown;
  readonly tls_required?: unknown;
  readonly tls_available?: unknown;
  readonly headers?: unknown;
}

function infoOf(text: string): ServerInfo {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // It is no object.
  }
  if (typeof value !== 'object' || value === null) throw new MalformedOperation('its INFO is no JSON');
  const { max_payload: max, tls_required: required, tls_available: available, headers } = value as Info;
  const maxPayload = typeof max === 'number' && Number.isSafeInteger(max) && max > 0 ? max : defaultMaxPayload;
  return {
    maxPayload,
    needsTls: required === true,
    hasTls: required === true || available === true,
    hasHeaders: headers === true,
  };
}

/** The credentials of a connection. */
export interface NatsCredentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
}

/** Encodes the first thing that a client says, and asks for an answer. */
export function connectOperation(
  name: string,
  isEncrypted: boolean,
  credentials: NatsCredentials,
  tellsNobodyThere = false,
): string {
  const { username, password, token } = credentials;
  const options = {
    verbose: false,
    pedantic: false,
    tls_required: isEncrypted,
    name,
    lang: 'node',
    version: '1',
    protocol: 1,
    echo: true,
    // A server says it by a message with headers.
    headers: tellsNobodyThere,
    no_responders: tellsNobodyThere,
    ...(username !== undefined && { user: username }),
    ...(password !== undefined && { pass: password }),
    ...(token !== undefined && { auth_token: token }),
  };
  return `CONNECT ${JSON.stringify(options)}\r\n${pingOperation}`;
}

/** Asks the other side for a sign of life. */
export const pingOperation = 'PING\r\n';
/** Answers a PING. */
export const pongOperation = 'PONG\r\n';

/** Encodes the beginning of a subscription, with its number. */
export function subscribeOperation(subject: string, sid: number): string {
  return `SUB ${subject} ${sid}\r\n`;
}

/** Encodes the end of a subscription. */
export function unsubscribeOperation(sid: number): string {
  return `UNSUB ${sid}\r\n`;
}

/** Encodes a message. */
export function publishOperation({ subject, reply, payload }: NatsPublication): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
  const head = `PUB ${subject} ${reply === undefined ? '' : `${reply} `}${bytes.length}\r\n`;
  return Buffer.concat([Buffer.from(head), bytes, lineEnd]);
}

/** Translates an error that a server sent, such as `Authorization Violation`. */
export function errorOf(text: string): NatsError {
  const [, subject] = /^permissions violation for (?:publish|subscription) to "(\S+)"/i.exec(text) ?? [];
  const isDenied = /^(?:authorization|permissions) violation|authentication (?:expired|revoked|timeout)/i.test(text);
  if (isDenied) return new NatsError('denied', text, { subject });
  const isRefused = /^maximum (?:payload|subscriptions|control line)|^invalid|^unknown protocol/i.test(text);
  return new NatsError(isRefused ? 'refused' : 'unreachable', text);
}

/** True for a refusal of a subscription, which all that wait for it have to hear of. */
export function refusesSubscription(text: string): boolean {
  return /^permissions violation for subscription/i.test(text);
}

/** True for an error after which a server does not close the connection. */
export function isPassing(text: string): boolean {
  return /^(?:permissions violation|invalid subject|maximum subscriptions)/i.test(text);
}
