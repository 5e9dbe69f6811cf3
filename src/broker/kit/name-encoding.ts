import type { EventHeaders } from '../broker.ts';
import { setOwn } from '../../internal/own.ts';
import type { TopicPattern, WildcardRules } from './wildcards.ts';

/** The texts that a server accepts as they are. */
export interface NameRule {
  /** Matches one character that the server accepts; digits and A to F must be among them. */
  readonly allowed: RegExp;
  /**
   * Begins the escape of a character: each of its UTF-8 bytes is written as this and two hexadecimal digits. The server
   * must accept it.
   * @default '%'
   */
  readonly escape?: string | undefined;
  /**
   * True for texts that the server does not accept though it accepts their characters, such as `a..b`. In these all
   * characters but letters and digits are escaped.
   */
  readonly forbids?: ((text: string) => boolean) | undefined;
  /** Most bytes of a text after encoding. */
  readonly maxBytes?: number | undefined;
  /**
   * The character that separates words on the server: `/` on MQTT. A `.` is written as it, and read back.
   * @default '.', which is not changed
   */
  readonly separator?: string | undefined;
}

/** The characters and sizes that a server accepts. */
export interface WireRules {
  readonly topic?: NameRule | undefined;
  readonly headerName?: NameRule | undefined;
  readonly headerValue?: NameRule | undefined;
  /**
   * Matches the names of headers that the server or its client act upon: `/^Nats-/i`. Events that have them are refused
   * by `publish`, and dead letters are made without them.
   */
  readonly controlHeaders?: RegExp | undefined;
  /** Most bytes of all headers of an event together, names and values. */
  readonly maxHeaderBytes?: number | undefined;
  readonly maxBodyBytes?: number | undefined;
}

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const plain = /[A-Za-z0-9]/;
const hexPair = /^[0-9A-F]{2}/;

/**
 * Encodes texts in the characters that a server accepts, and decodes them. A text that the server accepts is not
 * changed, so that other programs read it; a text that was not encoded is decoded as it is.
 */
export class NameEncoding {
  readonly #rule: NameRule;
  readonly #escape: string;
  readonly #escaped: RegExp;

  constructor(rule: NameRule) {
    this.#rule = rule;
    this.#escape = rule.escape ?? '%';
    const sign = this.#escape.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
    this.#escaped = new RegExp(`(?:${sign}[0-9A-F]{2})+`, 'g');
  }

  encode(text: string): string {
    const written = this.encodeWord(text);
    return this.#rule.forbids?.(written) ? this.#write(text, (character) => plain.test(character)) : written;
  }

  /** Encodes a part of a text, to which `forbids` does not apply. */
  encodeWord(text: string): string {
    const { allowed, separator } = this.#rule;
    if (separator === undefined) return this.#write(text, (character) => allowed.test(character));
    const words = text.split('.');
    return words
      .map((word) => this.#write(word, (character) => character !== separator && allowed.test(character)))
      .join(separator);
  }

  decode(text: string): string {
    const { separator } = this.#rule;
    if (!text.includes(this.#escape) && (separator === undefined || !text.includes(separator))) return text;
    try {
      const dotted = separator === undefined ? text : text.replaceAll(separator, '.');
      const read = dotted.replace(this.#escaped, (all) => strictUtf8.decode(this.#bytesOf(all)));
      return this.encode(read) === text ? read : text;
    } catch {
      return text;
    }
  }

  /** True if the server accepts an encoded text. */
  fits(encoded: string): boolean {
    const { maxBytes = Number.POSITIVE_INFINITY, forbids } = this.#rule;
    return !forbids?.(encoded) && (encoded.length * 3 <= maxBytes || Buffer.byteLength(encoded) <= maxBytes);
  }

  #write(text: string, isAllowed: (character: string) => boolean): string {
    let written = '';
    let at = 0;
    for (const character of text) {
      at += character.length;
      // An escape character before two hexadecimal digits is escaped itself, or it would be decoded.
      const isEscape = character === this.#escape && hexPair.test(text.slice(at, at + 2));
      written += isAllowed(character) && !isEscape ? character : this.#escapesOf(character);
    }
    return written;
  }

  #escapesOf(character: string): string {
    let escapes = '';
    for (const byte of utf8.encode(character))
      escapes += this.#escape + byte.toString(16).toUpperCase().padStart(2, '0');
    return escapes;
  }

  #bytesOf(escapes: string): Uint8Array {
    const step = this.#escape.length + 2;
    return Uint8Array.from({ length: escapes.length / step }, (_, index) =>
      Number.parseInt(escapes.slice(index * step + step - 2, index * step + step), 16),
    );
  }
}

/** Encodes topics and headers by a server's rules. */
export class WireEncoding {
  readonly rules: WireRules;
  readonly #topic: NameEncoding | undefined;
  readonly #name: NameEncoding | undefined;
  readonly #value: NameEncoding | undefined;

  constructor(rules: WireRules) {
    this.rules = rules;
    this.#topic = rules.topic && new NameEncoding(rules.topic);
    this.#name = rules.headerName && new NameEncoding(rules.headerName);
    this.#value = rules.headerValue && new NameEncoding(rules.headerValue);
  }

  /** The topic as the server takes it; `undefined` if it takes it in no way. */
  topic(topic: string): string | undefined {
    const encoded = this.#topic?.encode(topic) ?? topic;
    return this.#topic && !this.#topic.fits(encoded) ? undefined : encoded;
  }

  /** A pattern of topics as the server writes it; `undefined` if the server takes it in no way. */
  pattern(pattern: TopicPattern, wildcards: WildcardRules): string | undefined {
    const separator = this.rules.topic?.separator ?? '.';
    const written = pattern.write(wildcards, separator, (word) => this.#topic?.encodeWord(word) ?? word);
    const { maxBytes = Number.POSITIVE_INFINITY } = this.rules.topic ?? {};
    return Buffer.byteLength(written) > maxBytes ? undefined : written;
  }

  /** Decodes a topic. */
  readTopic(topic: string): string {
    return this.#topic?.decode(topic) ?? topic;
  }

  /** Encodes headers. Returns the name of a header that cannot be encoded. */
  headers(headers: EventHeaders): EventHeaders | string {
    if (!this.#name && !this.#value) return headers;
    const encoded: Record<string, string> = {};
    for (const name of Object.keys(headers)) {
      const [key, value] = [this.#name?.encode(name) ?? name, this.#value?.encode(headers[name] as string)];
      if (this.#name && !this.#name.fits(key)) return name;
      if (this.#value && value !== undefined && !this.#value.fits(value)) return name;
      setOwn(encoded, key, value ?? (headers[name] as string));
    }
    return encoded;
  }

  /** The name of a header on which the server acts; `undefined` if there is none. */
  controlHeader(headers: EventHeaders): string | undefined {
    const { controlHeaders } = this.rules;
    return controlHeaders && Object.keys(headers).find((name) => controlHeaders.test(name));
  }

  /** Decodes headers. */
  readHeaders(headers: EventHeaders): EventHeaders {
    if (!this.#name && !this.#value) return headers;
    const decoded: Record<string, string> = {};
    for (const name of Object.keys(headers)) {
      const value = headers[name] as string;
      setOwn(decoded, this.#name?.decode(name) ?? name, this.#value?.decode(value) ?? value);
    }
    return Object.freeze(decoded);
  }
}

/** The size of all headers together. */
export function headerBytes(headers: EventHeaders): number {
  let bytes = 0;
  for (const name of Object.keys(headers))
    bytes += Buffer.byteLength(name) + Buffer.byteLength(headers[name] as string);
  return bytes;
}
