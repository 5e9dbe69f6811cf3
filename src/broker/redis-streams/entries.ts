import { isRedisReply } from '../../internal/redis.ts';
import type { EventHeaders } from '../broker.ts';
import type { IncomingEvent } from '../kit/driver.ts';
import type { HeaderReader } from '../kit/frame.ts';

/** An entry of a Redis stream, as it is handed out. */
export interface StreamEntry extends IncomingEvent {
  readonly id: string;
}

/** Field of an entry that holds the header table. */
export const headersField = 'h';
/** Field of an entry that holds the body as it is. */
export const bodyField = 'b';

const chunkSize = 500;

/** Before every entry. */
export const firstId = '0-0';

/** An entry with its fields; both `null` where the stream was trimmed in the meantime. */
export type RawEntry = readonly [id: Buffer, fields: readonly Buffer[] | null] | null;

/** Reads `[id, [field, value, …]]`. An entry that another program has added has its other fields as headers. */
export function entryFrom(raw: RawEntry, attempt: number, reader: HeaderReader): StreamEntry | undefined {
  const fields = raw?.[1];
  if (!raw || !fields) return undefined;
  const id = raw[0].toString('latin1');
  let headers: EventHeaders | undefined;
  let body: Uint8Array | undefined;
  const others: [string, string][] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = (fields[i] as Buffer).toString();
    const value = fields[i + 1] as Buffer;
    if (name === bodyField) body = value;
    else if (name === headersField) headers = reader.read(value, 0, value.length);
    else others.push([name, value.toString()]);
  }
  return { id, attempt, body: body ?? Buffer.alloc(0), headers: headers ?? Object.freeze(Object.fromEntries(others)) };
}

/** The reply of XREAD and XREADGROUP on one stream. */
export type RawRead = readonly (readonly [key: Buffer, entries: readonly RawEntry[]])[] | null;

/** Reads the entries of a reply. */
export function entriesFrom(reply: RawRead, reader: HeaderReader): StreamEntry[] {
  const entries: StreamEntry[] = [];
  for (const raw of reply?.[0]?.[1] ?? []) {
    const entry = entryFrom(raw, 1, reader);
    if (entry) entries.push(entry);
  }
  return entries;
}

/** True if `a` stands before `b`: `<milliseconds>-<number>`. */
export function isBefore(a: string, b: string): boolean {
  const [[aTime = 0n, aNumber = 0n], [bTime = 0n, bNumber = 0n]] = [a.split('-').map(BigInt), b.split('-').map(BigInt)];
  return aTime === bTime ? aNumber < bNumber : aTime < bTime;
}

/** The value of a name in a flat reply of XINFO. */
export function infoOf(reply: unknown, name: string): string | undefined {
  const flat = reply as readonly unknown[];
  const index = flat.indexOf(name);
  return index < 0 ? undefined : String(flat[index + 1]);
}

/** The group is not there, or not any more. */
export function isNoGroup(error: unknown): boolean {
  return isRedisReply(error) && error.message.includes('NOGROUP');
}

/** Replies for a missing group and for a read that was unblocked: neither is a refusal. */
export function isPassing(error: unknown): boolean {
  return isNoGroup(error) || (isRedisReply(error) && error.message.startsWith('UNBLOCKED'));
}

/** Parts of `all`, so that no command has more of them than Redis works off in a moment. */
export function* chunksOf<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < all.length; start += chunkSize) yield all.slice(start, start + chunkSize);
}
