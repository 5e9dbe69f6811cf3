import { setMaxListeners } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { Code, type Context, Handler, Rpc, Service, System, TenonError } from '../../src/index.ts';
import { eventually } from '../support/waiting.ts';

const together = 300;
const patienceMs = 30_000;
let told: TenonError[] = [];
let begun = 0;

@Handler('crowd.Crowd')
class CrowdHandler {
  @Rpc() async wait(_: object, ctx: Context): Promise<object> {
    begun += 1;
    await new Promise((resolve) => {
      ctx.onAbort(resolve);
    });
    told.push(ctx.signal.reason as TenonError);
    throw ctx.signal.reason;
  }

  @Rpc({ stream: 'bidi' }) async *talk(asks: AsyncIterable<object>, ctx: Context): AsyncIterable<object> {
    begun += 1;
    const aborted = new Promise<TenonError>((resolve) => void ctx.onAbort(resolve));
    void aborted.then((error) => told.push(error));
    yield {};
    for await (const ask of asks) yield ask;
    // A caller on node:http2 that leaves may be seen to end its requests first.
    throw await aborted;
  }
}

@Service({ name: 'crowd', handlers: [CrowdHandler] })
class Crowd {}

/** The stacks with frames of `errors` and of what they were caused by: for each of them the engine walked the stack. */
function traced(errors: readonly TenonError[]): string[] {
  const chain = (error: unknown): Error[] => (error instanceof Error ? [error, ...chain(error.cause)] : []);
  const stacks = errors.flatMap(chain).map(({ stack }) => stack ?? '');
  return stacks.filter((stack) => /\n\s+at /.test(stack));
}

describe.each(['memory', 'grpc', 'grpc-js', 'tcp', 'unix'])('many calls that end at once over %s', (transport) => {
  let system: System;

  beforeEach(async () => {
    told = [];
    begun = 0;
    const address = transport === 'unix' ? `unix:${join(tmpdir(), `tenon-crowd-${process.pid}.sock`)}` : '127.0.0.1:0';
    system = await System.start([Crowd], {
      profile: 'test',
      env: {
        TENON_LOG_LEVEL: 'silent',
        TENON_LAME_DUCK_MS: '0',
        TENON_DRAIN: 'false',
        TENON_TRANSPORT: transport,
        ...(transport === 'memory' ? {} : { TENON_SERVER_ADDRESS: address }),
      },
    });
  });

  afterEach(() => system.stop());

  async function* silence(signal: AbortSignal): AsyncIterable<object> {
    yield {};
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  }

  /** `undefined` where they had ended before all of them had begun. */
  async function ended(end: () => void, signal: AbortSignal, timeoutMs?: number): Promise<TenonError[] | undefined> {
    setMaxListeners(0, signal);
    const client = system.client(CrowdHandler);
    const errors: TenonError[] = [];
    told = [];
    begun = 0;
    const calls = Array.from({ length: together }, async (_, index) => {
      const options = { signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
      const read = async (): Promise<void> => {
        for await (const _reply of client.talk(silence(signal), options));
      };
      await (index % 2 === 0 ? client.wait({}, options) : read()).catch((error: unknown) => {
        errors.push(TenonError.from(error));
      });
    });
    await eventually('all calls have begun, or ended', () => begun === together || errors.length > 0, patienceMs);
    const isTooLate = begun < together;
    end();
    await Promise.all(calls);
    await eventually('all handlers are told', () => told.length >= (isTooLate ? begun : together), patienceMs);
    if (isTooLate) return undefined;
    return errors;
  }

  it('cost no stack trace where their callers leave', async () => {
    const controller = new AbortController();
    const errors = (await ended(() => controller.abort('bye'), controller.signal)) ?? [];
    expect(errors.map(({ code }) => code)).toEqual(Array.from({ length: together }, () => Code.Cancelled));
    expect(traced([...errors, ...told])).toEqual([]);
  });

  it('cost no stack trace where their time is up', async () => {
    const controller = new AbortController();
    let errors: TenonError[] | undefined;
    for (let timeoutMs = 4_000; !errors; timeoutMs *= 2) errors = await ended(() => {}, controller.signal, timeoutMs);
    controller.abort();
    expect(errors.map(({ code }) => code)).toEqual(Array.from({ length: together }, () => Code.DeadlineExceeded));
    expect(traced([...errors, ...told])).toEqual([]);
  }, 120_000);

  it('cost no stack trace where the server stops', async () => {
    const controller = new AbortController();
    let stopped: Promise<void> | undefined;
    await ended(() => {
      stopped = system.stop();
    }, controller.signal);
    controller.abort();
    await stopped;
    expect(traced(told)).toEqual([]);
  });
});
