import { describe, expect, it } from '@jest/globals';

import { isValidSubject } from '../../src/nats/nats.ts';
import {
  connectOperation,
  errorOf,
  MalformedOperation,
  OperationReader,
  publishOperation,
  type ServerOperation,
} from '../../src/nats/protocol.ts';

const maxPayloadBytes = 64;

function read(reader: OperationReader, bytes: Buffer | string): ServerOperation[] {
  return [...reader.read(Buffer.from(bytes))];
}

const stream = Buffer.from(
  [
    'INFO {"max_payload":1024,"tls_required":true,"headers":true}\r\n',
    'PONG\r\n',
    'MSG micro.nats.watch 1 5\r\nhello\r\n',
    'msg  micro.nats.query 2 _INBOX.a 0\r\n\r\n',
    `MSG a 3 ${'ü\r\n'.length + 1}\r\nü\r\n\r\n`,
    'PING\r\n',
    `MSG large 4 100\r\n${'x'.repeat(100)}\r\n`,
    '+OK\r\n',
    '-ERR \'Permissions Violation for Publish to "a.b"\'\r\n',
  ].join(''),
);

const operations = [
  { kind: 'info', info: { maxPayload: 1024, hasTls: true, needsTls: true, hasHeaders: true } },
  { kind: 'pong' },
  { kind: 'message', subject: 'micro.nats.watch', sid: 1, reply: undefined, payload: 'hello' },
  { kind: 'message', subject: 'micro.nats.query', sid: 2, reply: '_INBOX.a', payload: '' },
  { kind: 'message', subject: 'a', sid: 3, reply: undefined, payload: 'ü\r\n' },
  { kind: 'ping' },
  { kind: 'message', subject: 'large', sid: 4, reply: undefined, payload: undefined },
  { kind: 'ok' },
  { kind: 'error', text: 'Permissions Violation for Publish to "a.b"' },
];

/** As a text, to be compared. */
function shown(operation: ServerOperation): object {
  if (operation.kind !== 'message') return operation;
  const { kind, subject, sid, reply, payload } = operation;
  return { kind, subject, sid, reply, payload: payload?.toString() };
}

describe('OperationReader', () => {
  it.each([1, 2, 3, 7, 50, stream.length])('reads the same of chunks of %i bytes', (size) => {
    const reader = new OperationReader(maxPayloadBytes);
    const found: ServerOperation[] = [];
    for (let at = 0; at < stream.length; at += size) found.push(...reader.read(stream.subarray(at, at + size)));
    expect(found.map(shown)).toEqual(operations);
    expect(reader.isEmpty).toBe(true);
  });

  it.each([
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\n', 'HTTP/1.1 400'],
    ['SSH', 'SSH-2.0-OpenSSH_9.2\r\n', 'SSH-2.0'],
    ['an empty line', '\r\n', 'it said ""'],
    ['an INFO that is no JSON', 'INFO none\r\n', 'no JSON'],
    ['an INFO that is no object', 'INFO null\r\n', 'no JSON'],
    ['a message without a length', 'MSG a 1\r\n', 'with the head'],
    ['a length that is no number', 'MSG a 1 x\r\n', 'with the head'],
    ['a number below 0', 'MSG a -1 5\r\n', 'with the head'],
    ['a length of many digits', 'MSG a 1 99999999999\r\n', 'with the head'],
    ['a length that is too short', 'MSG a 1 2\r\nabc\r\n', 'without its end'],
    ['a line without end', 'x'.repeat(70_000), 'more than 65536 bytes'],
    ['a line that is too long', `INFO ${'x'.repeat(70_000)}\r\n`, 'more than 65536 bytes'],
  ])('throws for %s', (_what, bytes, why) => {
    expect(() => read(new OperationReader(maxPayloadBytes), bytes)).toThrow(MalformedOperation);
    expect(() => read(new OperationReader(maxPayloadBytes), bytes)).toThrow(why);
  });

  it('keeps no more of a payload than it may have', () => {
    const reader = new OperationReader(maxPayloadBytes);
    expect(read(reader, `MSG a 1 ${1_000_000}\r\n`)).toHaveLength(1);
    for (let sent = 0; sent < 1_000_000; sent += 10_000) {
      expect(read(reader, 'x'.repeat(10_000))).toEqual([]);
      expect(reader.isEmpty).toBe(true);
    }
    expect(read(reader, '\r\nPING\r\n')).toEqual([{ kind: 'ping' }]);
  });

  it('takes the default for a max_payload that is none', () => {
    for (const max of ['"x"', 'null', '-1', '0', '1e400']) {
      const [operation] = read(new OperationReader(maxPayloadBytes), `INFO {"max_payload":${max}}\r\n`);
      expect(operation).toEqual({
        kind: 'info',
        info: { maxPayload: 1_048_576, hasTls: false, needsTls: false, hasHeaders: false },
      });
    }
  });
});

describe('what a client says', () => {
  it('counts a payload in bytes', () => {
    expect(String(publishOperation({ subject: 'a.b', payload: 'ü' }))).toBe('PUB a.b 2\r\nü\r\n');
    expect(String(publishOperation({ subject: 'a', reply: '_INBOX.x', payload: Buffer.from('yes') }))).toBe(
      'PUB a _INBOX.x 3\r\nyes\r\n',
    );
  });

  it('names who it is, and asks for an answer', () => {
    const said = connectOperation('test', true, { username: 'u', password: 'p"\r\n' });
    const [, json = ''] = /^CONNECT (.*)\r\nPING\r\n$/.exec(said) ?? [];
    expect(JSON.parse(json)).toMatchObject({ user: 'u', pass: 'p"\r\n', tls_required: true, headers: false });
    expect(connectOperation('test', false, { token: 't' })).toContain('"auth_token":"t"');
  });
});

describe('errors of a server', () => {
  it.each([
    ['Authorization Violation', 'denied', undefined],
    ['Authentication Timeout', 'denied', undefined],
    ['User Authentication Expired', 'denied', undefined],
    ['Permissions Violation for Publish to "micro.nats.watch"', 'denied', 'micro.nats.watch'],
    ['Permissions Violation for Subscription to "a.b" (sid "4")', 'denied', 'a.b'],
    ['Maximum Payload Violation', 'refused', undefined],
    ['maximum subscriptions exceeded', 'refused', undefined],
    ['Unknown Protocol Operation', 'refused', undefined],
    ['maximum connections exceeded', 'unreachable', undefined],
    ['Stale Connection', 'unreachable', undefined],
    ['Slow Consumer', 'unreachable', undefined],
  ])('%s is %s', (text, kind, subject) => {
    expect(errorOf(text)).toMatchObject({ kind, subject, message: text });
  });
});

describe('isValidSubject', () => {
  it.each(['micro.nats', 'a', 'ü-1.x_2'])('takes %s', (subject) => expect(isValidSubject(subject)).toBe(true));

  it.each(['', '.', 'a.', '.a', 'a..b', 'a b', 'a.*', '>', 'a.>', 'a\r\nPUB x 0', 'a\u0000'])('refuses %j', (subject) =>
    expect(isValidSubject(subject)).toBe(false),
  );
});
