import type { EventHeaders } from '../broker.ts';
import { setOwn } from '../../internal/own.ts';

/** Texts that a server takes as they are. */
export interface NameRule {
  /** Matches one character that the server takes; the digits and A to F among them. */
  readonly allowed: RegExp;
  /**
   * Begins what stands for another character: its bytes in UTF-8, each as this and two hexadecimal digits. One that the
   * server takes.
   * @default '%'
   */
  readonly escape?: string | undefined;
  /**
   * Texts that the server does not take though it takes their characters: `a..b`. In these everything but letters and
   * digits is escaped.
   */
  readonly forbids?: ((text: string) => boolean) | undefined;
  /** Longest text, once it is encoded. */
  readonly maxBytes?: number | undefined;
}

/** Characters and sizes that a server takes. */
export interface WireRules {
  readonly topic?: NameRule | undefined;
  readonly headerName?: NameRule | undefined;
  readonly headerValue?: NameRule | undefined;
  /** All headers of an event together, names and values. */
  readonly maxHeaderBytes?: number | undefined;
  readonly maxBodyBytes?: number | undefined;
}

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const plain = /[A-Za-z0-9]/;
const hexPair = /^[0-9A-F]{2}/;

/**
 * Writes texts in the characters that a server takes, and reads them again. A text that the server takes is written as
 * it is, so that other programs see it so. A text that nobody has encoded is read as it is.
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
    const written = this.#write(text, (character) => this.#rule.allowed.test(character));
    return this.#rule.forbids?.(written) ? this.#write(text, (character) => plain.test(character)) : written;
  }

  decode(text: string): string {
    if (!text.includes(this.#escape)) return text;
    try {
      const read = text.replace(this.#escaped, (all) => strictUtf8.decode(this.#bytesOf(all)));
      return this.encode(read) === text ? read : text;
    } catch {
      return text;
    }
  }

  /** True if the server takes the text once it is encoded. */
  fits(encoded: string): boolean {
    const { maxBytes = Number.POSITIVE_INFINITY, forbids } = this.#rule;
    return !forbids?.(encoded) && (encoded.length * 3 <= maxBytes || Buffer.byteLength(encoded) <= maxBytes);
  }

  #write(text: string, isAllowed: (character: string) => boolean): string {
    let written = '';
    let at = 0;
    for (const character of text) {
      at += character.length;
      // What would be read as an escape is none.
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

/** The encodings of a server's rules. */
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

  /** The headers as the server takes them; the name of the one that it takes in no way. */
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

  /** The headers as they were published. */
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

/** Bytes of all headers together. */
export function headerBytes(headers: EventHeaders): number {
  let bytes = 0;
  for (const name of Object.keys(headers))
    bytes += Buffer.byteLength(name) + Buffer.byteLength(headers[name] as string);
  return bytes;
}
