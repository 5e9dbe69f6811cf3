import { describe, expect, test } from '@jest/globals';

import { lineAt, type SourceFile, sourceFile, sourcesBelow } from './source.ts';

/** Something that has one place, and those that have a reason to do it themselves. */
interface Shared {
  readonly name: string;
  /** Matched against code without comments and the contents of strings. */
  readonly pattern: RegExp;
  readonly remedy: string;
  /** Where it stands. */
  readonly place: RegExp;
  /** Files that do it themselves, and why. */
  readonly others: Readonly<Record<string, string>>;
  readonly bad: string;
  readonly good: string;
}

const shared: readonly Shared[] = [
  {
    name: 'iterations',
    pattern: /(?<![\w)\]?.])\[Symbol\.asyncIterator\]\s*[(:]/g,
    remedy: 'make it with internal/iterators.ts or an AsyncQueue',
    place: /^src\/internal\/(?:iterators|async-queue)\.ts$/,
    others: {
      'src/registry/kit/watch-queue.ts': 'a Watcher is iterated, and can be stopped',
    },
    bad: 'class X { [Symbol.asyncIterator](): this { return this; } }',
    good: 'const replies = result[Symbol.asyncIterator]();',
  },
  {
    name: 'waits between attempts',
    pattern: /\bbackoffMs\(|\bnew Backoff\(/g,
    remedy: 'repeat it with runtime/retrying.ts',
    place: /^src\/(?:internal\/backoff|runtime\/retrying)\.ts$/,
    others: {
      'src/transport/call/subchannel.ts': 'calls may come while a connection rests',
      'src/runtime/outage.ts': 'whoever tells of an outage asks when it ends',
      'src/registry/kit/address-list.ts': 'an address rests while others are used',
      'src/internal/redis-client.ts': 'ioredis has a loop of its own',
      'src/broker/delivery.ts': 'the broker keeps the event meanwhile',
      'src/broker/kit/event-sources.ts': 'the broker keeps the event meanwhile',
      'src/broker/kit/poll-loop.ts': 'a poll may be woken, and there are waits of two kinds',
      'src/broker/kit/subscription.ts': 'what an attempt begins anew is another subscription',
      'src/broker/kit/ack-batch.ts': 'one timer for all batches',
      'src/outbox/dispatcher.ts': 'the lease is kept between attempts, and one success resets the waits of both loops',
    },
    bad: 'await timers.sleep(backoffMs(failures, random));',
    good: 'await retrying(work, { runtime, backoff });',
  },
  {
    name: 'bounded waits',
    pattern: /\bPromise\s*\.\s*race\(/g,
    remedy: 'wait with runtime/bounded.ts, which leaves nothing behind',
    place: /^src\/runtime\/bounded\.ts$/,
    others: {
      'src/app/run.ts': 'what it waits for ends with the process',
      'src/broker/delivery.ts': 'two ends of one subscription, whichever is first',
      'src/server/internal/handle-call.ts': 'the status goes out before the handler has ended',
    },
    bad: 'await Promise.race([work, timeout]);',
    good: 'await bounded(work, { timers, timeoutMs });',
  },
  {
    name: 'counts of what is under way',
    pattern: /\bwhenIdle\b|#inFlight\s*(?:\+=|-=|\+\+|--)/g,
    remedy: 'count it with internal/in-flight.ts',
    place: /^src\/internal\/in-flight\.ts$/,
    others: {
      'src/broker/kit/in-flight.ts': 'knows which events are in hand',
    },
    bad: 'this.#inFlight += 1;',
    good: 'this.#inFlight.enter();',
  },
  {
    name: 'varints',
    pattern: /(?:&|%)\s*(?:0x7f|127|0x80|128)\)?\s*\|\s*(?:0x80|128)/g,
    remedy: 'write it with internal/varint.ts',
    place: /^src\/internal\/varint\.ts$/,
    others: {
      'src/codec/internal/wire-writer.ts': '64 bits as bigint, into memory that grows',
    },
    bad: 'bytes.push((value & 0x7f) | 0x80);',
    good: 'at = writeVarint(bytes, at, value);',
  },
];

function problemsOf({ pattern, place, others, remedy }: Shared, file: SourceFile): string[] {
  if (place.test(file.path) || Object.hasOwn(others, file.path) || file.path.startsWith('src/testing/')) return [];
  return [...file.bare.matchAll(pattern)].map(
    (match) => `${file.path}:${lineAt(file.bare, match.index)}: ${match[0].trim()}: ${remedy}`,
  );
}

const sources = sourcesBelow('src');

describe('what has one place', () => {
  test.each(shared)('$name stand there alone, but for files that say why', (one) => {
    expect(sources.some(({ path }) => one.place.test(path))).toBe(true);
    expect(sources.flatMap((file) => problemsOf(one, file))).toEqual([]);
  });

  test.each(shared)('$name elsewhere are refused', (one) => {
    expect(problemsOf(one, sourceFile('src/app/x.ts', one.bad))).toHaveLength(1);
    expect(problemsOf(one, sourceFile('src/app/x.ts', one.good))).toEqual([]);
  });
});
