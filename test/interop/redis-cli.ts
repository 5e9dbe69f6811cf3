// Bytes as redis-cli shows and takes them, and the frames of docs/broker.md. Bytes are texts of latin1.

const named: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', a: '\u0007', b: '\b' };

/** The texts in quotation marks of an answer that redis-cli has printed without `--raw`. */
export function textsOf(answer: string): readonly string[] {
  return Array.from(answer.matchAll(/"((?:[^"\\]|\\.)*)"$/gm), ([, text = '']) =>
    text.replace(/\\(?:x([0-9a-f]{2})|(.))/g, (_, hex: string | undefined, letter = '') =>
      hex === undefined ? (named[letter] ?? letter) : String.fromCharCode(Number.parseInt(hex, 16)),
    ),
  );
}

/** Bytes as an argument of redis-cli after `--quoted-input`. */
export function quoted(bytes: string): string {
  const escaped = Array.from(bytes, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return `"${escaped.join('')}"`;
}

/** A header table whose texts have fewer than 128 bytes. */
export function headerTable(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers).flat().map(withLength).join('');
}

/** A frame whose header table has fewer than 128 bytes, or fewer than 16,384. */
export function frame(headers: Readonly<Record<string, string>>, body: string): string {
  const table = headerTable(headers);
  const { length } = table;
  const varint = length < 128 ? [length] : [(length % 128) + 128, length >> 7];
  return `\xF7\x01${String.fromCharCode(...varint)}${table}${latin1(body)}`;
}

function withLength(text: string): string {
  const bytes = latin1(text);
  return String.fromCharCode(bytes.length) + bytes;
}

function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}
