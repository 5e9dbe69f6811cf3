// oxlint-disable no-control-regex
import { setOwn } from '../../internal/own.ts';
import type { EventHeaders } from '../broker.ts';
import type { OutgoingEvent } from '../kit/driver.ts';
import { tooLarge, unusableHeader } from '../kit/failures.ts';
import { NameEncoding, type NameRule } from '../kit/name-encoding.ts';
import type { EncodedHeaders, Msg } from './library.ts';

/**
 * Subjects. `*` and `>` would be wildcards, an empty token is none, and subjects with `$` or `_INBOX.` at the beginning
 * are those of the server and of its clients: an event to `$JS.API.…` would be a command.
 */
export const subjectRule: NameRule = {
  allowed: /[^\s*>\u0000-\u001f\u007f-\u009f]/u,
  forbids: (text) => isOfServers(text) || /^\.|\.\.|\.$/.test(text),
  maxBytes: 1_024,
};

/** True for a subject of the server or of its clients, which wildcards match as well. */
export function isOfServers(subject: string): boolean {
  return /^(?:\$|_INBOX\.)/.test(subject);
}

/** Names of queue groups: what stands in one word of a command. */
export const queueNames = new NameEncoding({ allowed: /[^\s*>.\u0000-\u001f\u007f-\u009f]/u });

const headerNames = new NameEncoding({ allowed: /[!-9;-~]/ });
// Clients cut off the blanks around a value.
const headerValues = new NameEncoding({
  allowed: /[^\u0000-\u001f\u007f-\u009f\u2028\u2029]/u,
  forbids: (text) => /^\s|\s$/.test(text),
});

/** Headers by which the server is told what to do with a message: to expire it, to drop it, to expect a sequence. */
export const controlHeader = /^nats-/i;
const versionLine = 'NATS/1.0\r\n';

/** Writes the headers of events. Publishers mostly send the same ones again, so the last block is kept. */
export class HeaderBlocks {
  #headers: EventHeaders | undefined;
  #block: Buffer = Buffer.alloc(0);

  /**
   * Encodes headers, with the id by which a server of streams drops a second message. Gives the name of a header that
   * the server would take for one of its own.
   */
  write(headers: EventHeaders, messageId?: string): Buffer | string {
    const names = Object.keys(headers);
    if (messageId === undefined && this.#isLast(headers, names)) return this.#block;
    let block = versionLine;
    for (const name of names) {
      if (controlHeader.test(name)) return name;
      block += `${headerNames.encode(name)}: ${headerValues.encode(headers[name] as string)}\r\n`;
    }
    if (messageId !== undefined) block += `Nats-Msg-Id: ${headerValues.encode(messageId)}\r\n`;
    const bytes = Buffer.from(`${block}\r\n`);
    if (messageId === undefined) {
      this.#headers = { ...headers };
      this.#block = bytes;
    }
    return bytes;
  }

  #isLast(headers: EventHeaders, names: readonly string[]): boolean {
    const last = this.#headers;
    if (!last) return false;
    const lastNames = Object.keys(last);
    if (lastNames.length !== names.length) return false;
    return names.every((name, at) => lastNames[at] === name && last[name] === headers[name]);
  }
}

/** Bytes of headers, as the client library takes them. */
export function asHeaders(block: Buffer): EncodedHeaders {
  return { encode: () => block };
}

/** Gives the reason why an event cannot be sent. */
export function whyNotSent(
  broker: string,
  { topic, body }: OutgoingEvent,
  block: Buffer | string,
  maxPayload: number,
): Error | undefined {
  if (typeof block === 'string') return unusableHeader(broker, topic, block);
  const bytes = block.length + body.length;
  return bytes > maxPayload ? tooLarge(broker, topic, 'headers and body', bytes, maxPayload) : undefined;
}

/** Reads the headers of a message, without those that are for the server. `undefined` if it has no block of them. */
export function readHeaders({ _msg, _rdata }: Pick<Msg, '_msg' | '_rdata'>): EventHeaders | undefined {
  // The library's own reader throws for a name that it would not write.
  if (_msg.hdr <= 0) return undefined;
  const text = Buffer.from(_rdata.buffer, _rdata.byteOffset, _msg.hdr).toString();
  const headers: Record<string, string> = {};
  for (const line of text.split('\r\n').slice(1)) {
    const at = line.indexOf(':');
    if (at <= 0) continue;
    const written = line.slice(0, at);
    if (controlHeader.test(written)) continue;
    const name = headerNames.decode(written);
    const value = headerValues.decode(line.slice(at + 1).trim());
    setOwn(headers, name, Object.hasOwn(headers, name) ? `${headers[name]}, ${value}` : value);
  }
  return Object.freeze(headers);
}
