import type { Clock } from '../../runtime/runtime.ts';
import type { EventHeaders, PublishOptions } from '../broker.ts';

/** Header with the time before which an event is not delivered, as ISO 8601. */
export const deliverAtHeader = 'tenon-deliver-at';
/** Header with the time after which an event is not delivered, as ISO 8601. */
export const expiresAtHeader = 'tenon-expires-at';

/** Returns a copy of headers, with the times of an event that is published now. */
export function withSchedule(
  headers: EventHeaders,
  { delayMs, ttlMs }: Pick<PublishOptions, 'delayMs' | 'ttlMs'>,
  clock: Pick<Clock, 'now'>,
): EventHeaders {
  const times: Record<string, string> = {};
  const dueMs = clock.now() + (delayMs ?? 0);
  if (delayMs !== undefined && delayMs > 0) times[deliverAtHeader] = timeText(dueMs);
  if (ttlMs !== undefined) times[expiresAtHeader] = timeText(dueMs + ttlMs);
  return { ...headers, ...times };
}

/** True for the headers that {@link withSchedule} adds. */
export function isScheduleHeader(name: string): boolean {
  return name === deliverAtHeader || name === expiresAtHeader;
}

/** True if the event is over its time. A time that cannot be read is ignored. */
export function isExpired(headers: EventHeaders, clock: Pick<Clock, 'now'>): boolean {
  const at = headers[expiresAtHeader];
  return at !== undefined && Date.parse(at) <= clock.now();
}

// A timer may end a moment before its time: the event would be returned once more, which is counted as an attempt.
const earlyMs = 2;

/** The time in milliseconds until the event is due; 0 if it is, or will be within a moment. */
export function untilDueMs(headers: EventHeaders, clock: Pick<Clock, 'now'>): number {
  const at = headers[deliverAtHeader];
  if (at === undefined) return 0;
  const waitMs = Date.parse(at) - clock.now();
  return waitMs > earlyMs ? waitMs : 0;
}

// The last time of ECMAScript: "without end" is about that.
const lastMs = 8.64e15;

function timeText(atMs: number): string {
  return new Date(Math.min(Math.ceil(atMs), lastMs)).toISOString();
}
