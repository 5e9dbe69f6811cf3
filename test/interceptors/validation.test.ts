import { afterEach, describe, expect, it } from '@jest/globals';
import { type as arktype } from 'arktype';
import * as v from 'valibot';
import { z } from 'zod';

import { System } from '../../src/app/system.ts';
import { ClientOptions } from '../../src/client/client.ts';
import { type Class, Handler, Rpc, Service, UseInterceptor } from '../../src/decorators/decorators.ts';
import { BadRequest, findDetail } from '../../src/errors/details.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { validation } from '../../src/interceptors/validation.ts';
import type { Interceptor } from '../../src/pipeline/pipeline.ts';
import { failureOf } from '../../src/testing/failures.ts';

interface Text {
  text: string;
}

let system: System | undefined;
let sent = 0;
afterEach(async () => {
  await system?.stop();
  system = undefined;
  sent = 0;
});

const counting: Interceptor = (next) => (input, ctx) => {
  sent += 1;
  return next(input, ctx);
};

async function started(handler: Class, interceptors: readonly Interceptor[] = []): Promise<System> {
  @Service({ name: 'texts', handlers: [handler] })
  class Texts {}
  system = await System.start([Texts], {
    profile: 'test',
    bind: (container) => container.bind(ClientOptions).toConstantValue({ interceptors: [...interceptors, counting] }),
  });
  return system;
}

const fieldsOf = (failure: TenonError): (string | undefined)[] =>
  (findDetail(failure, BadRequest)?.fieldViolations ?? []).map(({ field }) => field);

const Trimmed = z.object({
  text: z
    .string()
    .trim()
    .min(2)
    .transform((text) => `<${text}>`),
});

describe('validation()', () => {
  it.each([
    ['zod', z.object({ text: z.string().min(2) })],
    ['valibot', v.object({ text: v.pipe(v.string(), v.minLength(2)) })],
    ['arktype', arktype({ text: 'string >= 2' })],
  ])('refuses requests on the server by a schema of its own: %s', async (_name, input) => {
    @Handler('texts.Texts')
    class TextsHandler {
      @UseInterceptor(validation({ input }))
      @Rpc()
      async echo(request: Text): Promise<Text> {
        return request;
      }
    }
    const client = (await started(TextsHandler)).client(TextsHandler);
    expect(await client.echo({ text: 'ok' })).toEqual({ text: 'ok' });
    const failure = await failureOf(client.echo({ text: 'x' }));
    expect([failure.code, fieldsOf(failure), sent]).toEqual([Code.InvalidArgument, ['text'], 2]);
  });

  @Handler('texts.Texts')
  class Strict {
    @Rpc({ input: Trimmed }) async echo(request: Text): Promise<Text> {
      return request;
    }
    @Rpc({ input: Trimmed, stream: 'client' }) async join(requests: AsyncIterable<Text>): Promise<Text> {
      let text = '';
      for await (const request of requests) text += request.text;
      return { text };
    }
  }

  it('does not send a request that the server would refuse, and sends others unchanged, on the client', async () => {
    const client = (await started(Strict, [validation()])).client(Strict);
    expect(await client.echo({ text: ' ok ' })).toEqual({ text: '<ok>' });
    expect(sent).toBe(1);
    const failure = await failureOf(client.echo({ text: ' x ' }));
    expect([failure.reason, fieldsOf(failure), sent]).toEqual(['call.invalid_input', ['text'], 1]);
  });

  it('does not validate twice on the server what the method has a schema for', async () => {
    @UseInterceptor(validation())
    @Handler('texts.Texts')
    class Twice extends Strict {}
    const client = (await started(Twice)).client(Strict);
    expect(await client.echo({ text: ' ok ' })).toEqual({ text: '<ok>' });
  });

  it('checks each message of a stream on the client', async () => {
    const client = (await started(Strict, [validation()])).client(Strict);
    async function* of(...texts: string[]): AsyncIterable<Text> {
      for (const text of texts) yield { text };
    }
    expect(await client.join(of('ab', 'cd'))).toEqual({ text: '<ab><cd>' });
    const failure = await failureOf(client.join(of('ab', 'x')));
    const told = TenonError.is(failure.cause) ? failure.cause : failure;
    expect([told.reason, fieldsOf(told)]).toEqual(['call.invalid_input', ['text']]);
  });

  const Reply = z.object({ text: z.string().regex(/^[a-z]+$/) });

  it('hides from callers what is wrong with a reply of the server, also in a stream', async () => {
    @UseInterceptor(validation())
    @Handler('texts.Texts')
    class Careless {
      @Rpc({ output: Reply }) async echo(request: Text): Promise<Text> {
        return request;
      }
      @UseInterceptor(validation({ output: Reply }))
      @Rpc({ stream: 'server' })
      async *letters(request: Text): AsyncIterable<Text> {
        for (const text of request.text) yield { text };
      }
    }
    const client = (await started(Careless)).client(Careless);
    expect(await client.echo({ text: 'ok' })).toEqual({ text: 'ok' });
    const failure = await failureOf(client.echo({ text: 'Secret' }));
    expect(failure).toMatchObject({ code: Code.Internal, reason: 'call.invalid_output', details: [] });
    expect(failure.message).toBe('the server made an invalid reply of /texts.Texts/Echo: see its log');
    const got: string[] = [];
    const reading = (async () => {
      for await (const { text } of client.letters({ text: 'abC' })) got.push(text);
    })();
    expect((await failureOf(reading)).reason).toBe('call.invalid_output');
    expect(got).toEqual(['a', 'b']);
  });

  it('tells the caller what is wrong with a reply that it received', async () => {
    @Handler('texts.Texts')
    class Careless {
      @Rpc() async echo(request: Text): Promise<Text> {
        return request;
      }
    }
    const client = (await started(Careless, [validation({ output: Reply })])).client(Careless);
    expect(await client.echo({ text: 'ok' })).toEqual({ text: 'ok' });
    expect((await failureOf(client.echo({ text: 'NO' }))).message).toMatch(/^the reply of .+ is not valid: text: /);
  });
});
