import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';

import type { CallOptions } from '../../src/client/client.ts';
import { Code, System, TenonError } from '../../src/index.ts';
import { collect } from '../../src/testing/recorders.ts';
import { badAnswers } from './cases/servers.ts';
import { answer, BadServer, hello } from './support/bad-server.ts';

interface Payload {
  readonly text?: string;
}

/** `hostile.Echo`, as its `.proto` describes it. */
interface Echo {
  unary(request: Payload, options: CallOptions): Promise<Payload>;
  server(request: Payload, options: CallOptions): AsyncIterable<Payload>;
  client(requests: AsyncIterable<Payload>, options: CallOptions): Promise<Payload>;
  bidi(requests: AsyncIterable<Payload>, options: CallOptions): AsyncIterable<Payload>;
}

type Call = (echo: Echo, options: CallOptions) => Promise<unknown>;

const calls: Readonly<Record<string, Call>> = {
  unary: (echo, options) => echo.unary({ text: 'a' }, options),
  server: (echo, options) => collect(echo.server({ text: 'a' }, options)),
  client: (echo, options) => echo.client(three(), options),
  bidi: (echo, options) => collect(echo.bidi(three(), options)),
};

async function* three(): AsyncIterable<Payload> {
  for (const text of ['a', 'b', 'c']) yield { text };
}

/** How long an answer is waited for that may never come, and one that must. */
const timeoutMs = 300;
const patienceMs = 20_000;

describe.each(Object.keys(calls))('a client whose server is bad: %s', (kind) => {
  const call = calls[kind] as Call;
  let system: System;
  let bad: BadServer;
  let echo: Echo;

  beforeAll(async () => {
    system = await System.start([], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
    echo = system.client({ proto: new URL('./programs/echo.proto', import.meta.url), name: 'hostile.Echo' }) as Echo;
    bad = await BadServer.start();
  });

  beforeEach(() => {
    bad.behave = answer;
    bad.welcome = hello;
  });

  afterAll(async () => {
    await bad.close();
    await system.stop();
  });

  /** The code with which the call ended. It must be a TenonError, and within a few seconds. */
  async function outcome(limitMs: number): Promise<Code> {
    try {
      await call(echo, { address: bad.address, timeoutMs: limitMs });
      return Code.Ok;
    } catch (error) {
      expect(error).toBeInstanceOf(TenonError);
      return (error as TenonError).code;
    }
  }

  it.each([...badAnswers])(
    '$name',
    async ({ behave, codes }) => {
      bad.behave = behave;
      const seen = await outcome(codes.includes(Code.DeadlineExceeded) ? timeoutMs : patienceMs);
      expect(codes.map((code) => Code[code as never] ?? code)).toContain(Code[seen as never] ?? seen);
      // The same server, come to its senses: a connection that was spoiled is made anew, at the latest when three calls
      // have waited on it in vain.
      bad.behave = answer;
      let after = await outcome(timeoutMs);
      for (let again = 1; again <= 5 && after !== Code.Ok; again += 1)
        after = await outcome(again < 3 ? timeoutMs : patienceMs);
      expect(after).toBe(Code.Ok);
    },
    120_000,
  );
});
