import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/index.ts';
import { ConsoleLogger, type ConsoleLoggerOptions } from '../../src/logger/console.ts';
import type { LogFields } from '../../src/logger/logger.ts';

const clock = { now: () => Date.UTC(2024, 1, 29, 12), monotonicMs: () => 0 };
const head = { time: '2024-02-29T12:00:00.000Z', level: 'error', message: 'it failed' };

/** Everything that one message makes a logger write. */
function written(message: string, fields: LogFields, options: ConsoleLoggerOptions = {}): string[] {
  const lines: string[] = [];
  new ConsoleLogger({ clock, write: (line) => lines.push(line), ...options }).error(message, fields);
  return lines;
}

function json(
  fields: LogFields,
  options: ConsoleLoggerOptions = {},
): { readonly [key: string]: unknown; readonly value?: unknown; readonly error?: unknown } {
  const lines = written('it failed', { ...fields, kept: 'yes' }, { format: 'json', ...options });
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toContain('\n');
  const { time, level, message, kept, 'process.pid': pid, ...rest } = JSON.parse(lines[0] as string);
  expect({ time, level, message, kept, pid }).toEqual({ ...head, kept: 'yes', pid: process.pid });
  return rest;
}

function nested(depth: number): object {
  let value: object = {};
  for (let level = 1; level < depth; level += 1) value = { in: value };
  return value;
}

function depthOf(value: unknown): number {
  let depth = 0;
  for (let at = value; typeof at === 'object' && at !== null; at = (at as { in?: unknown }).in) depth += 1;
  return depth;
}

describe('a JSON line', () => {
  it('cuts the cycle of an error that is its own cause', () => {
    const error = new TypeError('round');
    error.cause = error;
    const { 'exception.message': text, error: parts } = json({ error });
    expect(text).toBe('round');
    expect(parts).toMatchObject({ name: 'TypeError', message: 'round', cause: '[circular]' });
  });

  it('cuts the cycle of two errors that cause one another', () => {
    const inner = new Error('inner');
    const error = new TenonError({ code: Code.Internal, reason: 'a.b', message: 'outer', cause: inner });
    inner.cause = error;
    expect(json({ error }).error).toMatchObject({
      code: 'INTERNAL',
      reason: 'a.b',
      cause: { message: 'inner', cause: '[circular]' },
    });
  });

  it('cuts cycles of objects, lists and maps, and repeats an object that is there twice without a cycle', () => {
    const list: unknown[] = [1];
    list.push(list);
    const map = new Map<string, unknown>([['a', 1]]);
    map.set('self', map);
    const shared = { n: 1 };
    expect(json({ list, map, shared: [shared, shared] })).toEqual({
      list: [1, '[circular]'],
      map: [
        ['a', 1],
        ['self', '[circular]'],
      ],
      shared: [{ n: 1 }, { n: 1 }],
    });
  });

  it('shows why a property cannot be read, and keeps the others', () => {
    const bad = {
      before: 1,
      get broken(): never {
        throw new Error('no entry');
      },
      after: 2,
    };
    const fields = Object.defineProperty({ bad }, 'direct', { enumerable: true, get: () => bad.broken });
    const lines: string[] = [];
    const logger = new ConsoleLogger({ clock, format: 'json', write: (line) => lines.push(line) });
    logger.error('it failed', fields);
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      {
        ...head,
        'process.pid': process.pid,
        bad: { before: 1, broken: '[cannot be read: no entry]', after: 2 },
        direct: '[cannot be read: no entry]',
      },
    ]);
  });

  it.each<[string, unknown, unknown]>([
    // prettier-ignore
    ['a toJSON that throws', { toJSON: () => { throw new Error('no JSON'); } }, '[cannot be read: no JSON]'],
    // prettier-ignore
    ['a toJSON that gives itself', new (class { a = 1; toJSON(): this { return this; } })(), { a: 1 }],
    ['a proxy that was revoked', revoked(), expect.stringContaining('[cannot be read: ')],
    ['a bigint', 12_345_678_901_234_567_890n, '12345678901234567890'],
    ['a symbol', Symbol('s'), 'Symbol(s)'],
    ['a function', () => 1, '[function]'],
    ['a number that is none', Number.NaN, 'NaN'],
    ['a map', new Map([['k', 1n]]), [['k', '1']]],
    ['a set', new Set(['a', 'b']), ['a', 'b']],
    ['bytes', new Uint8Array(3), '[3 bytes]'],
    ['a date', new Date(0), '1970-01-01T00:00:00.000Z'],
    ['a date that is none', new Date(Number.NaN), null],
    ['no prototype', Object.assign(Object.create(null) as object, { a: 1 }), { a: 1 }],
  ])('shows %s', (_, value, expected) => {
    expect(json({ value }).value).toEqual(expected);
  });

  it('shows a key __proto__ as an ordinary key', () => {
    const value = JSON.parse('{"__proto__":{"a":1}}') as object;
    const { value: shown } = json({ value });
    expect(Object.entries(shown as object)).toEqual([['__proto__', { a: 1 }]]);
  });

  it('cuts nested values at maxDepth', () => {
    expect(depthOf(json({ value: nested(100_000) }).value)).toBe(7);
    expect(depthOf(json({ value: nested(100_000) }, { maxDepth: 3 }).value)).toBe(2);
    expect(JSON.stringify(json({ value: nested(100_000) }, { maxDepth: 3 }).value)).toContain('[too deep]');
  });

  it('cuts long lists at maxEntries of all fields together', () => {
    const value = Array.from({ length: 1_000_000 }, (_, index) => index);
    const shown = json({ value }, { maxEntries: 10 }).value as unknown[];
    // Three for the fields themselves: the process, this one, and the one behind it.
    expect(shown).toEqual([0, 1, 2, 3, 4, 5, 6, '[999993 more]']);
  });

  it('reads no more elements of a list than it shows', () => {
    let read = 0;
    const counting = new Proxy(
      Array.from({ length: 10_000 }, (_, index) => index),
      {
        get: (target, key) => {
          if (typeof key === 'string' && /^\d+$/.test(key)) read += 1;
          return Reflect.get(target, key) as unknown;
        },
      },
    );
    json({ value: counting }, { maxEntries: 50 });
    expect(read).toBe(47);
  });

  it('cuts texts at maxTextLength, and shows how many characters are missing', () => {
    expect(json({ value: 'x'.repeat(1_000_000) }, { maxTextLength: 9 }).value).toBe('xxxxxxxxx… [999991 more]');
  });

  it('keeps its time, level and message when fields have the same names', () => {
    const [line] = written('it failed', { time: 1, level: 2, message: 3 }, { format: 'json' });
    expect(JSON.parse(line as string)).toMatchObject(head);
  });
});

const controls = [
  '\u0000', '\u0007', '\b', '\t', '\n', '\r', '\u001b', '\u007f', '\u0085', '\u009b', '\u2028', '\u2029', '\u202e', '\u2066',
]; // prettier-ignore
// oxlint-disable-next-line no-control-regex
const unsafe = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

describe.each(['text', 'json'] as const)('control characters of a message in %s', (format) => {
  it.each(controls.map((char) => [JSON.stringify(char), char]))('are escaped: %s', (_, char) => {
    const text = `a${char}b`;
    const error = new Error(text);
    error.stack = `Error: ${text}\n    at ${char.replace(/[\n\r]/, '')}here`;
    const fields = { [`k${char}`]: text, list: [`one ${text}`, `two ${text}`], nested: { [text]: text } };
    for (const lines of [written(text, fields, { format }), written('it failed', { error }, { format })]) {
      expect(lines).toHaveLength(1);
      for (const line of (lines[0] as string).split('\n')) expect(line).not.toMatch(unsafe);
    }
    expect(written(text, {}, { format })[0]?.split('\n')).toHaveLength(1);
  });
});

describe('a text line', () => {
  it('escapes line breaks, so that one line cannot look like two', () => {
    expect(written('hello\n2024-02-29T12:00:00.000Z error root logged in', {})).toEqual([
      '2024-02-29T12:00:00.000Z error hello\\u000a2024-02-29T12:00:00.000Z error root logged in',
    ]);
  });

  it('shows fields as key=value, quoted if they contain spaces', () => {
    expect(written('it failed', { n: 1, word: 'w', text: 'two words', list: [1], left: undefined })).toEqual([
      '2024-02-29T12:00:00.000Z error it failed n=1 word=w text="two words" list=[1]',
    ]);
  });

  it('shows an error in one line, with its stack indented below', () => {
    const error = new RangeError('too far');
    error.stack = 'RangeError: too far\n    at one (a.ts:1:2)\n    at two (b.ts:3:4)';
    expect(written('it failed', { error, n: 1 })).toEqual([
      [
        '2024-02-29T12:00:00.000Z error it failed: RangeError: too far n=1',
        '    at one (a.ts:1:2)',
        '    at two (b.ts:3:4)',
      ].join('\n'),
    ]);
  });

  it('shows the causes of an error, each once, and the stack of the innermost', () => {
    const cause = new TypeError('inner');
    cause.stack = 'TypeError: inner\n    at deep (c.ts:5:6)';
    const error = new TenonError({ code: Code.Unavailable, reason: 'a.b', message: 'outer', cause });
    cause.cause = error;
    expect(written('it failed', { error })).toEqual([
      [
        '2024-02-29T12:00:00.000Z error it failed: UNAVAILABLE (a.b): outer; caused by TypeError: inner',
        '    at deep (c.ts:5:6)',
      ].join('\n'),
    ]);
  });

  it('shows no stack of a TenonError without a cause', () => {
    const error = new TenonError({ code: Code.NotFound, reason: 'a.b', message: 'no such place' });
    expect(written('it failed', { error })).toEqual([
      '2024-02-29T12:00:00.000Z error it failed: NOT_FOUND (a.b): no such place',
    ]);
  });

  it('shows the other fields beside an error that cannot be read', () => {
    const error = new Error('hidden');
    Object.defineProperty(error, 'message', { get: () => { throw new Error('no'); } }); // prettier-ignore
    const [line] = written('it failed', { error, kept: 'yes' });
    expect(line?.split('\n')[0]).toMatch(/^2024-02-29T12:00:00\.000Z error it failed: .* kept=yes$/);
  });
});

it('ConsoleLogger loses the line, and does not throw, when its stream throws', () => {
  const write = (): never => {
    throw new Error('EPIPE');
  };
  expect(() => new ConsoleLogger({ write, clock }).error('it failed')).not.toThrow();
});

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
