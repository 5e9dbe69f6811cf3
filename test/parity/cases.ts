import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';

import type { ClientOf } from '../../src/client/client-of.ts';
import type { MetadataInit } from '../../src/context/metadata.ts';
import { ErrorInfo, findDetail } from '../../src/errors/details.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import type { System } from '../../src/index.ts';
import { Client, Metadata } from '../../src/index.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { collect } from '../../src/testing/recorders.ts';
import { eventually, gate, settled } from '../support/waiting.ts';
import { fieldsOf, parityMetadata, type ParityHandler } from './service.ts';

/** Every transport, by the name of its column; in process, over gRPC for other processes, by TENON_IN_PROCESS. */
export const columns = ['memory', 'grpc', 'grpc-js', 'tcp', 'unix', 'nats', 'in process'] as const;
export type Column = (typeof columns)[number];

/** A service on one transport, and a client of it. */
export interface Rig {
  readonly system: System;
  readonly client: ClientOf<ParityHandler>;
  readonly handler: ParityHandler;
  readonly address: string;
}

/** A row of the table. */
export interface ParityCase {
  readonly group: string;
  readonly name: string;
  run(rig: Rig): Promise<void>;
  /** Where it is otherwise, and why: there it must fail. */
  readonly except?: Partial<Record<Column, string>>;
}

async function* numbers(to: number): AsyncIterable<{ n: number }> {
  for (let n = 1; n <= to; n += 1) yield { n };
}

async function* lines(...texts: string[]): AsyncIterable<{ text: string }> {
  for (const text of texts) yield { text };
}

/** More messages than any transport takes of a stream that nobody reads. */
const floodCount = 500;

/** Requests of a flood, and how many were asked for. */
function flood() {
  const state = { sent: 0 };
  const padding = 'x'.repeat(4_096);
  async function* source(): AsyncIterable<{ n: number }> {
    for (; state.sent < floodCount; state.sent += 1) yield { n: 1, padding } as { n: number };
  }
  return { state, source: source() };
}

/** The handler must see the deadline of a call that lasts for `timeoutMs` at most, in whole seconds. */
async function assertDeadline(
  { seen }: ParityHandler,
  timeoutMs: number,
  call: (options: { readonly timeoutMs: number }) => Promise<unknown>,
): Promise<void> {
  const begunMs = performance.now();
  await call({ timeoutMs });
  const deadline = seen.deadline ?? 0;
  assert.ok(deadline >= begunMs + timeoutMs - 1_000, `${deadline} is too soon`);
  assert.ok(deadline <= performance.now() + timeoutMs + 1_000, `${deadline} is too late`);
}

const grpcJsAnswers = 'grpc-js answers unknown methods itself';

/** What is the same on every transport, or is not. */
export const cases: readonly ParityCase[] = [
  {
    group: 'calls',
    name: 'unary',
    run: async ({ client }) => assert.deepEqual(await client.echo({ text: 'hello' }), { text: 'hello' }),
  },
  {
    group: 'calls',
    name: 'server stream, in order',
    run: async ({ client }) => assert.deepEqual(await collect(client.count({ to: 300 })), await collect(numbers(300))),
  },
  {
    group: 'calls',
    name: 'client stream',
    run: async ({ client }) => assert.deepEqual(await client.sum(numbers(300)), { total: 45_150 }),
  },
  {
    group: 'calls',
    name: 'bidi, and the server speaks first',
    run: async ({ client }) =>
      assert.deepEqual(
        (await collect(client.chat(lines('a', 'b')))).map(({ text }) => text),
        ['welcome', 'A', 'B'],
      ),
  },
  {
    group: 'calls',
    name: 'a thousand at once stay apart',
    run: async ({ client }) => {
      const texts = Array.from({ length: 1_000 }, (_, index) => `call ${index}`);
      const replies = await Promise.all(texts.map((text) => client.echo({ text })));
      assert.deepEqual(
        replies.map(({ text }) => text),
        texts,
      );
    },
  },
  {
    group: 'calls',
    name: 'a message of 3 MiB',
    run: async ({ client }) => {
      const text = 'x'.repeat(3 * 1024 * 1024);
      assert.equal((await client.echo({ text })).text.length, text.length);
    },
  },
  {
    group: 'calls',
    name: 'each side has messages of its own, which the other may change',
    run: async ({ client, handler }) => {
      const sent = { text: 'as it was' };
      const first = await client.echo(sent);
      sent.text = 'changed';
      first.text = 'changed';
      assert.deepEqual(handler.seen.last, { text: 'as it was' });
      handler.seen.last.text = 'changed there';
      assert.deepEqual([sent, first], [{ text: 'changed' }, { text: 'changed' }]);
    },
  },
  {
    group: 'calls',
    name: 'a message over 4 MiB is RESOURCE_EXHAUSTED',
    run: async ({ client }) => {
      const { code } = await failureOf(client.echo({ text: 'x'.repeat(5 * 1024 * 1024) }));
      assert.equal(code, Code.ResourceExhausted);
      assert.equal((await client.echo({ text: 'next' })).text, 'next');
    },
  },
  {
    group: 'deadline',
    name: 'reaches the handler',
    run: async ({ client, handler }) => {
      await assertDeadline(handler, 60_000, (options) => client.echo({ text: '' }, options));
    },
  },
  {
    group: 'deadline',
    name: 'ends the call on both sides',
    run: async ({ client, handler }) => {
      handler.go = gate().opened;
      // A busy machine may not bring the call to its handler in so short a time.
      for (let timeoutMs = 100; handler.seen.requests.length === 0; timeoutMs *= 2) {
        assert.equal((await failureOf(client.held({ text: 'x' }, { timeoutMs }))).code, Code.DeadlineExceeded);
      }
      await eventually('the handler to hear of it', () => handler.seen.aborted !== undefined);
    },
  },
  {
    group: 'deadline',
    name: 'ends a stream',
    run: async ({ client }) => {
      async function* silence(): AsyncIterable<{ text: string }> {
        await sleep(5_000, undefined, { ref: false });
        yield { text: 'late' };
      }
      assert.equal((await failureOf(collect(client.chat(silence(), { timeoutMs: 100 })))).code, Code.DeadlineExceeded);
    },
  },
  {
    group: 'deadline',
    name: 'more than 24 days away arrives as it is',
    run: async ({ client, handler }) => {
      await assertDeadline(handler, 60 * 24 * 3_600_000, (options) => client.echo({ text: '' }, options));
    },
    except: {
      'grpc-js': 'shortened to 24 days: timers of grpc-js overflow beyond',
    },
  },
  {
    group: 'cancel',
    name: 'a unary call, and its handler hears of it',
    run: async ({ client, handler }) => {
      handler.go = gate().opened;
      const controller = new AbortController();
      const failure = failureOf(client.held({ text: 'x' }, { signal: controller.signal }));
      await eventually('the call', () => handler.seen.requests.length > 0);
      controller.abort();
      assert.equal((await failure).code, Code.Cancelled);
      await eventually('the handler to hear of it', () => handler.seen.aborted === Code.Cancelled);
    },
  },
  {
    group: 'cancel',
    name: 'a stream, by leaving its loop',
    run: async ({ client, handler }) => {
      for await (const { text } of client.chat(lines('a'))) if (text === 'A') break;
      for await (const { n } of client.count({ to: 1_000_000, size: 1_000 })) if (n === 3) break;
      await eventually('the handler to hear of it', () => handler.seen.aborted === Code.Cancelled);
    },
  },
  {
    group: 'errors',
    name: 'all codes with their messages, in any script',
    run: async ({ client }) => {
      for (const code of Object.values(Code).filter((one) => one !== Code.Ok)) {
        const error = await failureOf(client.fail({ code, how: 'plain' }));
        assert.deepEqual([error.code, error.message], [code, `naïve – 東京 😀 ${code}`]);
      }
    },
  },
  {
    group: 'errors',
    name: 'a message with blanks at its ends, tabs and control characters is as it was',
    run: async ({ client }) => {
      for (const said of [' a', 'a ', '  ', '\t', ' \u0000\u001b[31m ', '% ', '\u00a0', 'half \ud83d'])
        assert.equal((await failureOf(client.say({ said }))).message, Buffer.from(said).toString());
    },
  },
  {
    group: 'errors',
    name: 'reason, details and metadata',
    run: async ({ client }) => {
      const error = await failureOf(client.fail({ code: Code.Aborted, how: 'rich' }));
      assert.equal(error.reason, 'parity.failed');
      assert.deepEqual(findDetail(error, ErrorInfo), { reason: 'PARITY', domain: 'tenon', metadata: { a: '1' } });
      assert.deepEqual([...(error.metadata['raw-bin'] as Uint8Array)], [0, 255]);
      assert.equal(error.metadata['text'], 'so');
    },
  },
  {
    group: 'errors',
    name: 'an exception is INTERNAL, and its text stays',
    run: async ({ client }) => {
      const error = await failureOf(client.fail({ code: 0, how: 'crash' }));
      assert.equal(error.code, Code.Internal);
      assert.doesNotMatch(error.message, /secret/);
    },
  },
  {
    group: 'errors',
    name: 'after messages of a stream, which are read first',
    run: async ({ client }) => {
      const read: number[] = [];
      const error = await failureOf(
        (async () => {
          for await (const { n } of client.failLate({ after: 40 })) {
            read.push(n);
            if (n === 1) await sleep(50);
          }
        })(),
      );
      assert.deepEqual([read.length, error.code], [40, Code.DataLoss]);
    },
  },
  {
    group: 'errors',
    name: 'an unknown method is UNIMPLEMENTED',
    run: async (rig) => assert.equal((await failureOf(unknown(rig))).code, Code.Unimplemented),
  },
  {
    group: 'errors',
    name: 'an unknown method names one like it, if `suggest` is on',
    run: async (rig) => assert.match((await failureOf(unknown(rig))).message, /Did you mean "\/parity.Parity\/Echo"\?/),
    except: { 'grpc-js': grpcJsAnswers },
  },
  {
    group: 'errors',
    name: 'nobody there is UNAVAILABLE, `transport.unreachable`',
    run: async ({ client, address }) => {
      // Of the same kind of address, where nobody listens.
      const [scheme = ''] = /^(?:unix|nats):/.exec(address) ?? [];
      const nowhere = { 'unix:': 'unix:/nowhere/parity.sock', 'nats:': 'nats:nowhere.parity' }[scheme] ?? '127.0.0.1:1';
      const { code, reason } = await failureOf(client.echo({ text: '' }, { address: nowhere }));
      assert.deepEqual([code, reason], [Code.Unavailable, 'transport.unreachable']);
    },
  },
  {
    group: 'metadata',
    name: 'bytes, to the handler and back in headers and trailers',
    run: async (rig) => {
      const bytes = fieldsOf(parityMetadata()).filter(([key]) => key === 'raw-bin');
      for (const fields of await mirrored(rig))
        assert.deepEqual(
          fields.filter(([key]) => key === 'raw-bin'),
          bytes,
        );
    },
  },
  {
    group: 'metadata',
    name: 'text that cannot be carried is INVALID_ARGUMENT before it is sent, `metadata.invalid`',
    run: async ({ client, handler }) => {
      for (const text of [' a', 'a ', ' ', 'a\tb', 'a\r\nb: c', '\u0000', 'ä', '\ud83d']) {
        const error = TenonError.from(
          await Promise.resolve()
            .then(() => client.echo({ text }, { metadata: { text } }))
            .catch((thrown: unknown) => thrown),
        );
        assert.deepEqual([error.code, error.reason], [Code.InvalidArgument, 'metadata.invalid']);
      }
      assert.equal(handler.seen.peer, '');
    },
  },
  {
    group: 'metadata',
    name: 'repeated text keys stay apart, to the handler',
    run: async (rig) => assert.deepEqual((await mirrored(rig))[0], fieldsOf(parityMetadata())),
    except: { 'grpc-js': 'HTTP joins them by commas, and grpc-js shows them so' },
  },
  {
    group: 'metadata',
    name: 'repeated text keys stay apart, to the caller',
    run: async (rig) => {
      const [, headers, trailers] = await mirrored(rig);
      assert.deepEqual([headers, trailers], [fieldsOf(parityMetadata()), fieldsOf(parityMetadata())]);
    },
    except: {
      'grpc-js': 'HTTP joins them by commas, and grpc-js shows them so',
    },
  },
  {
    group: 'metadata',
    name: '`authorization` with two values',
    run: async ({ client }) => {
      const metadata: MetadataInit = { authorization: ['a', 'b'] };
      await client.echo({ text: '' }, { metadata });
    },
    except: {
      grpc: 'INVALID_ARGUMENT: HTTP allows it once',
      'grpc-js': 'INVALID_ARGUMENT: HTTP allows it once',
    },
  },
  {
    group: 'back-pressure',
    name: 'a slow caller holds back a handler that yields',
    run: async ({ client, handler }) => {
      const replies = client.count({ to: floodCount, size: 4_096 })[Symbol.asyncIterator]();
      await replies.next();
      assert.ok((await settled(() => handler.seen.sent)) < floodCount, 'it was not held back');
      for (let n = 2; n <= floodCount; n += 1) assert.equal((await replies.next()).value?.n, n);
    },
  },
  {
    group: 'back-pressure',
    name: 'a slow handler holds back a caller that sends',
    run: async ({ client, handler }) => {
      const { opened, open } = gate();
      handler.go = opened;
      const { state, source } = flood();
      const sum = client.sum(source);
      assert.ok((await settled(() => state.sent)) < floodCount, 'it was not held back');
      open();
      assert.deepEqual(await sum, { total: floodCount });
    },
  },
  {
    group: 'back-pressure',
    name: 'a stream that nobody reads does not hold up other calls',
    run: async ({ client, handler }) => {
      const replies = client.count({ to: floodCount, size: 4_096 })[Symbol.asyncIterator]();
      await replies.next();
      await settled(() => handler.seen.sent);
      assert.equal((await client.echo({ text: 'through' }, { timeoutMs: 60_000 })).text, 'through');
      await replies.return?.();
    },
  },
  {
    group: 'life',
    name: 'the handler knows its peer',
    run: async ({ client, handler }) => {
      await client.echo({ text: '' });
      assert.notEqual(handler.seen.peer, '');
    },
  },
  {
    group: 'life',
    name: 'a drain lets a call finish, and takes no new one',
    run: async ({ system, client, handler, address }) => {
      const { opened, open } = gate();
      handler.go = opened;
      const call = client.held({ text: 'x' });
      await eventually('the call', () => handler.seen.requests.length > 0);
      const drained = system.services[0]?.server().drain();
      await sleep(50);
      assert.equal((await failureOf(client.echo({ text: 'late' }, { address }))).code, Code.Unavailable);
      open();
      assert.deepEqual(await call, { text: 'x' });
      await drained;
    },
  },
  {
    group: 'life',
    name: 'a server that stops ends its calls with UNAVAILABLE',
    run: async ({ system, client, handler }) => {
      handler.go = gate().opened;
      const call = failureOf(client.held({ text: 'x' }));
      await eventually('the call', () => handler.seen.requests.length > 0);
      await system.services[0]?.server().stop();
      assert.equal((await call).code, Code.Unavailable);
    },
  },
];

function unknown({ system }: Rig): Promise<unknown> {
  const client = system.get(Client);
  return client.call(client.newRequest('parity', 'parity.Parity/Ehco', {}));
}

/** What the handler was told, and what came back as headers and as trailers. */
async function mirrored({ client }: Rig): Promise<ReturnType<typeof fieldsOf>[]> {
  let headers = new Metadata();
  let trailers = new Metadata();
  const { fields } = await client.mirror(
    {},
    {
      metadata: parityMetadata(),
      onHeaders: (received) => (headers = received),
      onTrailers: (received) => (trailers = received),
    },
  );
  return [fields, fieldsOf(headers), fieldsOf(trailers)];
}
