import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import protobuf from 'protobufjs';

import { errorOf, statusOf } from '../../src/context/status.ts';
import {
  BadRequest,
  badRequest,
  DebugInfo,
  debugInfo,
  type DetailType,
  ErrorInfo,
  errorInfo,
  findDetail,
  Help,
  help,
  LocalizedMessage,
  localizedMessage,
  PreconditionFailure,
  preconditionFailure,
  QuotaFailure,
  quotaFailure,
  RequestInfo,
  requestInfo,
  ResourceInfo,
  resourceInfo,
  RetryInfo,
  retryInfo,
} from '../../src/errors/details.ts';
import { Code, type ErrorDetail, TenonError } from '../../src/errors/errors.ts';

const root = new protobuf.Root();
root.resolvePath = (_origin, target) =>
  target.startsWith('google/protobuf/') ? target : fileURLToPath(new URL(target, import.meta.url));
root.loadSync('error-details.proto');

function failing(...details: ErrorDetail[]): TenonError {
  return new TenonError({ code: Code.Unavailable, message: 'x', details });
}

/** The value as ours is made, what is made of it, what reads it, and the same message as protobufjs takes it. */
type Row = readonly [value: object, made: ErrorDetail, type: DetailType<object>, message: object];

function row<T extends object>(
  value: T,
  make: (value: T) => ErrorDetail,
  type: DetailType<T>,
  message: object = value,
): Row {
  return [value, make(value), type, message];
}

const violation = { field: 'a.b[0]', description: 'must be ≥ 1', reason: 'TOO_SMALL' };
const localized = { locale: 'de-CH', message: 'zu klein' };
const rows: readonly Row[] = [
  row(
    {
      fieldViolations: [
        { ...violation, localizedMessage: localized },
        { field: '', description: 'x' },
      ],
    },
    badRequest,
    BadRequest,
    // protobufjs would write the empty text, which says the same.
    { fieldViolations: [{ ...violation, localizedMessage: localized }, { description: 'x' }] },
  ),
  row({ fieldViolations: [] }, badRequest, BadRequest),
  row({ retryDelayMs: 1500.25 }, retryInfo, RetryInfo, { retryDelay: { seconds: 1, nanos: 500_250_000 } }),
  row({ retryDelayMs: 0 }, retryInfo, RetryInfo, { retryDelay: {} }),
  row({ retryDelayMs: -2500 }, retryInfo, RetryInfo, { retryDelay: { seconds: -2, nanos: -500_000_000 } }),
  row({ retryDelayMs: 86_400_000 * 365 * 200 }, retryInfo, RetryInfo, { retryDelay: { seconds: 86_400 * 365 * 200 } }),
  row({ reason: 'API_DISABLED', domain: 'example.com', metadata: { zone: 'a', '': 'b' } }, errorInfo, ErrorInfo),
  row({ reason: 'API_DISABLED' }, errorInfo, ErrorInfo),
  row({ stackEntries: ['at a', 'at b'], detail: 'd' }, debugInfo, DebugInfo),
  row(
    {
      violations: [
        {
          subject: 'project:1',
          description: 'too many',
          apiService: 'api',
          quotaMetric: 'metric',
          quotaId: 'id',
          quotaDimensions: { region: 'x' },
          quotaValue: 2 ** 40 + 1,
          futureQuotaValue: -1,
        },
        { subject: 's', description: 'd' },
      ],
    },
    quotaFailure,
    QuotaFailure,
  ),
  row(
    { violations: [{ type: 'TOS', subject: 'example.com', description: 'accept' }] },
    preconditionFailure,
    PreconditionFailure,
  ),
  row({ requestId: 'r', servingData: 's' }, requestInfo, RequestInfo),
  row({ resourceType: 't', resourceName: 'n', owner: 'o', description: 'd' }, resourceInfo, ResourceInfo),
  row({ links: [{ description: 'd', url: 'https://example.com/?q=é' }] }, help, Help),
  row({ locale: 'en', message: 'x'.repeat(300) }, localizedMessage, LocalizedMessage),
];

describe('details of errors', () => {
  test.each(rows)('encode %j as protobufjs does, and decode it', (value, made, type, message) => {
    const theirs = root.lookupType(type.type);
    expect(made.type).toBe(type.type);
    expect(Buffer.from(made.value).toString('hex')).toBe(
      Buffer.from(theirs.encode(theirs.fromObject(message)).finish()).toString('hex'),
    );
    expect(findDetail(failing(made), type)).toEqual(value);
  });

  test('arrive with the status, in their order', () => {
    const sent = failing(retryInfo({ retryDelayMs: 20 }), help({ links: [] }), retryInfo({ retryDelayMs: 30 }));
    const received = errorOf(statusOf(sent));
    expect(received.details.map(({ type }) => type)).toEqual(sent.details.map(({ type }) => type));
    expect(findDetail(received, RetryInfo)).toEqual({ retryDelayMs: 20 });
    expect(findDetail(received, BadRequest)).toBeUndefined();
  });

  test('skip unknown fields, and keep unknown types as bytes', () => {
    const value = Uint8Array.of(...retryInfo({ retryDelayMs: 20 }).value, 0x7a, 2, 1, 2, 0xa0, 1, 5);
    const other = { type: 'example.Other', value: Uint8Array.of(1, 2) };
    const error = failing(other, { type: 'google.rpc.RetryInfo', value });
    expect(findDetail(error, RetryInfo)).toEqual({ retryDelayMs: 20 });
    expect(error.details[0]).toBe(other);
  });

  test.each([
    ['a cut message', [0x0a, 5, 8]],
    ['a cut length', [0x0a, 0x80]],
    ['a length without end', [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]],
    ['a negative length', [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]],
    ['a number in place of a message', [0x08, 1]],
    ['a cut message within', [0x0a, 2, 0x0a, 9]],
    ['a group', [0x0b, 0x0c]],
  ])('skip a malformed detail: %s', (_name, bytes) => {
    const broken = (type: string): ErrorDetail => ({ type, value: Uint8Array.from(bytes) });
    for (const type of [BadRequest, QuotaFailure]) {
      expect(findDetail(failing(broken(type.type)), type as DetailType<unknown>)).toBeUndefined();
    }
    const sound = badRequest({ fieldViolations: [violation] });
    expect(findDetail(failing(broken(sound.type), sound), BadRequest)).toEqual({ fieldViolations: [violation] });
  });

  test('take a key __proto__ from a peer as an ordinary key', () => {
    const made = errorInfo({ reason: 'X', metadata: JSON.parse('{"__proto__":"x"}') as Record<string, string> });
    const read = findDetail(failing(made), ErrorInfo)?.metadata ?? {};
    expect(Object.getOwnPropertyNames(read)).toEqual(['__proto__']);
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  });
});
