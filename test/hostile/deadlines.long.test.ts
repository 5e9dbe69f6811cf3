import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';

import type { CallOptions } from '../../src/client/client.ts';
import { Code, type Context, Handler, Rpc, Service, System, TenonError } from '../../src/index.ts';

interface Ask {
  /** Replies before it waits for its caller to give up. */
  readonly replies: number;
}

const yearMs = 365 * 86_400_000;
const aborted: (Code | undefined)[] = [];
let begun = 0;

/** Waits until the call is aborted, by what its context says and by its signal. */
async function untilAborted(ctx: Context): Promise<never> {
  begun += 1;
  await new Promise<void>((resolve) => ctx.signal.addEventListener('abort', () => resolve(), { once: true }));
  aborted.push(ctx.aborted?.code);
  throw ctx.signal.reason;
}

@Handler('late.Late')
class LateHandler {
  @Rpc() async now(ask: Ask): Promise<Ask> {
    return ask;
  }
  @Rpc() async unary(_: Ask, ctx: Context): Promise<Ask> {
    return untilAborted(ctx);
  }
  @Rpc({ stream: 'server' }) async *server({ replies }: Ask, ctx: Context): AsyncIterable<Ask> {
    for (let n = 0; n < replies; n += 1) yield { replies: n };
    await untilAborted(ctx);
  }
  @Rpc({ stream: 'client' }) async client(asks: AsyncIterable<Ask>, ctx: Context): Promise<Ask> {
    for await (const _ of asks) return untilAborted(ctx);
    return untilAborted(ctx);
  }
  @Rpc({ stream: 'bidi' }) async *bidi(asks: AsyncIterable<Ask>, ctx: Context): AsyncIterable<Ask> {
    for await (const ask of asks) {
      yield ask;
      await untilAborted(ctx);
    }
  }
}

@Service({ name: 'late', handlers: [LateHandler] })
class Late {}

describe.each(['memory', 'grpc', 'tcp'])('over %s', (transport) => {
  let system: System;

  beforeAll(async () => {
    system = await System.start([Late], {
      profile: 'test',
      env: {
        TENON_LOG_LEVEL: 'silent',
        TENON_LAME_DUCK_MS: '0',
        TENON_TRANSPORT: transport,
        ...(transport === 'memory' ? {} : { TENON_SERVER_ADDRESS: '127.0.0.1:0' }),
      },
    });
  });

  beforeEach(() => {
    aborted.length = 0;
    begun = 0;
  });

  afterAll(() => system.stop());

  async function* asks(): AsyncIterable<Ask> {
    yield { replies: 1 };
    await new Promise(() => {});
  }

  const calls: Readonly<Record<string, (options: CallOptions, onReply?: () => void) => Promise<unknown>>> = {
    unary: (options) => system.client(LateHandler).unary({ replies: 0 }, options),
    server: async (options, onReply) => {
      for await (const _ of system.client(LateHandler).server({ replies: 1 }, options)) onReply?.();
    },
    client: (options) => system.client(LateHandler).client(asks(), options),
    bidi: async (options, onReply) => {
      for await (const _ of system.client(LateHandler).bidi(asks(), options)) onReply?.();
    },
  };

  async function codeOf(call: Promise<unknown>): Promise<Code> {
    return call.then(
      () => Code.Ok,
      (error: unknown) => TenonError.from(error).code,
    );
  }

  /** Whether a handler was told one of these; that of a test before may still be told of its own. */
  async function isHeard(...codes: Code[]): Promise<boolean> {
    const found = (): boolean => aborted.some((code) => code !== undefined && codes.includes(code));
    for (let n = 0; n < 5_000 && !found(); n += 1) await new Promise((resolve) => setTimeout(resolve, 10));
    return found();
  }

  it.each([0, yearMs, 100 * yearMs, 2 ** 31, 2 ** 31 - 1, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER])(
    'a time-out of %i ms is no hurry',
    async (timeoutMs) => {
      expect(await system.client(LateHandler).now({ replies: 3 }, { timeoutMs })).toEqual({ replies: 3 });
    },
  );

  it.each(Object.keys(calls))('%s: a millisecond passes', async (kind) => {
    expect(await codeOf(calls[kind]!({ timeoutMs: 1 }))).toBe(Code.DeadlineExceeded);
  });

  it.each(Object.keys(calls))('%s: a deadline that has passed ends the call at once', async (kind) => {
    for (const timeoutMs of [-1, -yearMs])
      expect([Code.DeadlineExceeded, Code.InvalidArgument]).toContain(await codeOf(calls[kind]!({ timeoutMs })));
  });

  it.each(Object.keys(calls))('%s: a deadline amid the call ends it on both sides', async (kind) => {
    // A call whose time is up before it has arrived is made again with more.
    for (let timeoutMs = 150; begun === 0 && timeoutMs < 60_000; timeoutMs *= 4)
      expect(await codeOf(calls[kind]!({ timeoutMs }))).toBe(Code.DeadlineExceeded);
    // The handler may hear of the reset before its own clock says so.
    expect(await isHeard(Code.DeadlineExceeded, Code.Cancelled)).toBe(true);
  });

  it.each(Object.keys(calls))('%s: a call that is cancelled before it begins ends at once', async (kind) => {
    expect(await codeOf(calls[kind]!({ signal: AbortSignal.abort() }))).toBe(Code.Cancelled);
  });

  it.each(Object.keys(calls))('%s: a cancelled call is seen by its handler', async (kind) => {
    const controller = new AbortController();
    const call = codeOf(calls[kind]!({ signal: controller.signal }));
    while (begun === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort();
    expect(await call).toBe(Code.Cancelled);
    expect(await isHeard(Code.Cancelled)).toBe(true);
  });

  it.each(['server', 'bidi'])(
    '%s: a call that is cancelled behind its first reply is seen by its handler',
    async (kind) => {
      const controller = new AbortController();
      expect(await codeOf(calls[kind]!({ signal: controller.signal }, () => controller.abort()))).toBe(Code.Cancelled);
      expect(await isHeard(Code.Cancelled)).toBe(true);
    },
  );
});
