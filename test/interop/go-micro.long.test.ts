import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';

import type { ClientOptions, MethodCaller } from '../../src/client/client.ts';
import { Context } from '../../src/context/context.ts';
import { Metadata } from '../../src/context/metadata.ts';
import { findDetail } from '../../src/errors/details.ts';
import { Code, type TenonError } from '../../src/errors/errors.ts';
import { MicroError } from '../../src/go-micro/go-micro.ts';
import type { Parts } from '../../src/testing/internal/parts.ts';
import { TestProcess } from '../support/process.ts';
import { grpcNames, grpcTransport } from '../transport/support.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';
import { allTypes, clientOf, greeter, parts, serverOf, service } from './go-micro/greeter.ts';

interface Outcome {
  readonly value?: unknown;
  readonly error?: { readonly id: string; readonly code: number; readonly detail: string; readonly status: string };
  readonly grpc?: { readonly code: number; readonly message: string };
}

const types = ['application/grpc+proto', 'application/grpc+json'];

describe.each(['go-micro-v5', 'go-micro-v4'])('%s', (program) => {
  describe.each(grpcNames)('with a server of tenon on %s,', (engine) => {
    describeWithTools('its client', [program], () => {
      const outcomes = new Map<string, Outcome>();

      beforeAll(async () => {
        const made = parts(grpcTransport(engine));
        const server = serverOf(made);
        await server.start();
        try {
          const client = new TestProcess(toolPath(program), ['client', server.address!]);
          // It ends at once if an answer is not what it takes for one.
          expect(await client.waitForExit(60_000)).toEqual({ code: 0, signal: null });
          for (const line of client.lines) {
            const { case: name, ...outcome } = JSON.parse(line) as Outcome & { readonly case: string };
            outcomes.set(name, outcome);
          }
        } finally {
          await server.stop();
          await made.transport.close();
        }
      }, 90_000);

      it.each([
        'hello',
        'hello application/grpc+json',
        'hello application/json',
        'hello application/protobuf',
        'hello application/proto',
        'hello application/octet-stream',
        'hello application/grpc',
        'hello without a service',
        'hello by a whole path',
        'hello after all',
      ])('makes the unary call: %s', (name) => {
        expect(outcomes.get(name)).toEqual({ value: 'Hello John' });
      });

      it.each(['echo', 'echo json'])('sends and receives every kind of field: %s', (name) => {
        expect(outcomes.get(name)).toEqual({ value: true });
      });

      it('sends metadata in lower case and the time-out as a deadline, and handlers see no headers of the dialect', () => {
        const headers = outcomes.get('meta')?.value as Record<string, string>;
        expect(headers).toMatchObject({ 'x-trace-id': 'abc-123', tenant: 'acme' });
        expect(Number(headers['remaining-ms'])).toBeGreaterThan(1_000);
        expect(Number(headers['remaining-ms'])).toBeLessThanOrEqual(20_000);
        expect(headers).not.toHaveProperty('timeout');
        expect(headers).not.toHaveProperty('x-content-type');
      });

      it('receives an error of Go Micro unchanged', () => {
        expect(outcomes.get('fail')).toEqual({
          error: { id: 'greeter.fail', code: 409, detail: 'because é <b>', status: 'Conflict' },
        });
      });

      it('receives a TenonError as an error of Go Micro, with its reason as the id', () => {
        expect(outcomes.get('fail with a code of ours')).toEqual({
          error: { id: 'greeter.unknown', code: 404, detail: 'not here', status: 'Not Found' },
        });
      });

      it('receives the error even if it has details that Go Micro cannot decode', () => {
        expect(outcomes.get('fail with foreign details')).toEqual({
          error: { id: service, code: 400, detail: 'three of them', status: 'Bad Request' },
        });
      });

      it('receives an unexpected error without its text', () => {
        const { error } = outcomes.get('fail unexpectedly') ?? {};
        expect(error).toMatchObject({ id: 'server.handler_failed', code: 500, status: 'Internal Server Error' });
        expect(error?.detail).not.toContain('a secret');
      });

      it('receives the code 501 for an unknown method', () => {
        expect(outcomes.get('unknown method')?.error).toMatchObject({ id: 'go.micro.client', code: 501 });
      });

      it('receives the code 408 after the deadline', () => {
        expect(outcomes.get('deadline')?.error?.code).toBe(408);
      });

      it.each(['count', 'count json'])('receives a server stream without a half-close of its own: %s', (name) => {
        expect(outcomes.get(name)).toEqual({ value: [1, 2, 3, 4, 5] });
      });

      it.each(['chat', 'chat json'])('sends and receives on a bidi stream: %s', (name) => {
        expect(outcomes.get(name)).toEqual({ value: ['ONE', 'TWO', 'THREE'] });
      });

      it('receives the error of a stream that fails as an error of Go Micro', () => {
        const { code, message } = outcomes.get('chat fail')?.grpc ?? {};
        expect(code).toBe(Code.AlreadyExists);
        expect(JSON.parse(message ?? '')).toEqual({
          id: 'greeter.chat',
          code: 409,
          detail: 'chat failed',
          status: 'Conflict',
        });
      });
    });
  });

  describeWithTools('its server', [program], () => {
    let server: TestProcess;
    let address: string;
    const made: Parts[] = [];

    beforeAll(async () => {
      server = new TestProcess(toolPath(program), ['server']);
      [, address = ''] = await server.waitForLine(/^listening (\S+)$/);
    });

    afterEach(async () => {
      for (const { transport } of made.splice(0)) await transport.close();
    });

    afterAll(async () => {
      await server.kill();
    });

    function caller(name: string, options?: ClientOptions): MethodCaller {
      const one = parts();
      made.push(one);
      const call = clientOf(one, options).method(
        greeter.methods.find(({ method }) => method === name)!,
        service,
      );
      return (input, more) => call(input, { address, ...more });
    }

    it.each(types)('answers a unary call from tenon, %s', async (contentType) => {
      expect(await caller('Hello')({ name: 'John' }, { contentType })).toEqual({ msg: 'Hello John' });
    });

    it.each(types)('returns every kind of field, %s', async (contentType) => {
      expect(await caller('Echo')(allTypes, { contentType })).toEqual(allTypes);
    });

    it('receives metadata, the time-out, and the metadata of the call that is being handled', async () => {
      const handled = new Context({
        service: 'other',
        endpoint: 'Call',
        metadata: new Metadata({
          tenant: 'acme',
          timeout: '1',
          'user-agent': 'somebody',
          'x-content-type': 'text/plain',
        }),
      });
      const options = { ctx: handled, metadata: { 'x-trace-id': 'abc-123' }, timeoutMs: 5_000 };
      const { headers } = (await caller('Meta')({}, options)) as { headers: Record<string, string> };
      expect(headers['user-agent']).not.toContain('somebody');
      expect(headers).toMatchObject({ 'x-trace-id': 'abc-123', tenant: 'acme' });
      expect(Number(headers['remaining-ms'])).toBeGreaterThan(1_000);
      expect(Number(headers['remaining-ms'])).toBeLessThanOrEqual(5_000);
    });

    it.each([
      [400, Code.InvalidArgument, 'Bad Request'],
      [401, Code.Unauthenticated, 'Unauthorized'],
      [403, Code.PermissionDenied, 'Forbidden'],
      [404, Code.NotFound, 'Not Found'],
      [409, Code.AlreadyExists, 'Conflict'],
      [412, Code.FailedPrecondition, 'Precondition Failed'],
      [418, Code.Unknown, "I'm a teapot"],
      [500, Code.Internal, 'Internal Server Error'],
      [501, Code.Unimplemented, 'Not Implemented'],
      [503, Code.Unavailable, 'Service Unavailable'],
    ])('returns an error of code %i with its details', async (code, expected, status) => {
      const call = caller('Fail')({ kind: 'micro', id: 'greeter.fail', code, detail: 'because é <b>' });
      const error = await (call as Promise<never>).catch((thrown: unknown) => thrown as TenonError);
      expect(error).toMatchObject({ code: expected, message: 'because é <b>' });
      expect(findDetail(error, MicroError)).toEqual({ id: 'greeter.fail', code, detail: 'because é <b>', status });
    });

    it('returns a plain error as UNKNOWN, with its text', async () => {
      await expect(caller('Fail')({ kind: 'plain', detail: 'just text' })).rejects.toMatchObject({
        code: Code.Unknown,
        message: 'just text',
      });
    });

    it('ends a call with DEADLINE_EXCEEDED after its deadline', async () => {
      await expect(caller('Slow')({ millis: 30_000n }, { timeoutMs: 200 })).rejects.toMatchObject({
        code: Code.DeadlineExceeded,
      });
    });

    it.each(types)('sends a server stream, %s', async (contentType) => {
      const numbers: bigint[] = [];
      for await (const { n } of caller('Count')({ to: 5n }, { contentType }) as AsyncIterable<{ n: bigint }>)
        numbers.push(n);
      expect(numbers).toEqual([1n, 2n, 3n, 4n, 5n]);
    });

    it.each(types)('answers on a bidi stream, %s', async (contentType) => {
      async function* requests(): AsyncIterable<unknown> {
        for (const text of ['one', 'two', 'three', 'bye']) yield { text };
      }
      const texts: string[] = [];
      for await (const { text } of caller('Chat')(requests(), { contentType }) as AsyncIterable<{ text: string }>)
        texts.push(text);
      expect(texts).toEqual(['ONE', 'TWO', 'THREE']);
    });

    it('fails a stream, and its reader rejects with the error', async () => {
      async function* requests(): AsyncIterable<unknown> {
        yield { text: 'fail' };
      }
      const replies = (caller('Chat')(requests()) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
      const error = await replies.next().catch((thrown: unknown) => thrown as TenonError);
      expect(error).toMatchObject({ code: Code.AlreadyExists, message: 'chat failed' });
      expect(findDetail(error as TenonError, MicroError)).toMatchObject({ id: 'greeter.chat', code: 409 });
    });
  });
});
