import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { type ServiceConfig, ServicePolicies } from '../../src/interceptors/interceptors.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { announce } from '../../src/testing/internal/parts.ts';
import type { Socket } from '../../src/transport/transport.ts';
import { all, answers, clientOf, count, echo, fails, get, scripted, silent } from './support.ts';

const gone = fails(Code.Unavailable);

const retryPolicy = {
  maxAttempts: 3,
  initialBackoff: '0.001s',
  maxBackoff: '0.01s',
  backoffMultiplier: 2,
  retryableStatusCodes: ['UNAVAILABLE', 10],
};

function problemsOf(config: unknown): string[] {
  try {
    void new ServicePolicies(config as ServiceConfig, systemRuntime);
  } catch (error) {
    expect(error).toMatchObject({ code: Code.InvalidArgument, reason: 'interceptors.invalid_service_config' });
    return TenonError.from(error).message.split('\n- ').slice(1);
  }
  return [];
}

function ofMethod(policy: object): ServiceConfig {
  return { methodConfig: [{ name: [{}], ...policy }] };
}

describe('a service config', () => {
  it('is accepted as gRPC’s own documents show it', () => {
    expect(
      problemsOf({
        loadBalancingConfig: [{ round_robin: {} }],
        methodConfig: [
          { name: [{ service: 'echo.Echo' }], waitForReady: true, retryPolicy },
          {
            name: [{ service: 'echo.Echo', method: 'Slow' }],
            hedgingPolicy: { maxAttempts: 4, hedgingDelay: '0.5s', nonFatalStatusCodes: [14] },
          },
          { name: [{}], timeout: '1.000000001s', maxRequestMessageBytes: 1024, maxResponseMessageBytes: '2048' },
        ],
        retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
      }),
    ).toEqual([]);
  });

  it.each<[string, unknown, string[]]>([
    ['no object', 7, ['it is 7: give an object']],
    [
      'an unknown field',
      { methodConfigs: [] },
      ['methodConfigs is not a field of a service config. Did you mean "methodConfig"?'],
    ],
    ['no list', { methodConfig: {} }, ['methodConfig is {}: give a list']],
    ['no names', ofMethod({ name: [] }), ['methodConfig[0].name names nothing: give [{}] for every method']],
    [
      'a method of no service',
      ofMethod({ name: [{ method: 'M' }] }),
      ['methodConfig[0].name[0] names the method M of no service: give the service too'],
    ],
    [
      'a name twice',
      ofMethod({ name: [{ service: 's' }, { service: 's', method: '' }] }),
      ['methodConfig[0].name[1] /s/ is named twice'],
    ],
    [
      'durations that are none',
      ofMethod({ timeout: '5' }),
      ['methodConfig[0].timeout is "5": give a duration in seconds above 0, such as "1.5s"'],
    ],
    [
      'a flag that is none',
      ofMethod({ waitForReady: 'yes' }),
      ['methodConfig[0].waitForReady is "yes": give true or false'],
    ],
    [
      'a limit that is none',
      ofMethod({ maxRequestMessageBytes: -1 }),
      ['methodConfig[0].maxRequestMessageBytes is -1: give a number of bytes'],
    ],
    [
      'one attempt',
      ofMethod({ retryPolicy: { ...retryPolicy, maxAttempts: 1 } }),
      ['methodConfig[0].retryPolicy.maxAttempts is 1: give a whole number of at least 2'],
    ],
    [
      'no back-off',
      ofMethod({ retryPolicy: { ...retryPolicy, initialBackoff: '0s' } }),
      ['methodConfig[0].retryPolicy.initialBackoff is "0s": give a duration in seconds above 0, such as "1.5s"'],
    ],
    [
      'no codes',
      ofMethod({ retryPolicy: { ...retryPolicy, retryableStatusCodes: [] } }),
      ['methodConfig[0].retryPolicy.retryableStatusCodes is empty: without a code nothing is retried'],
    ],
    [
      'codes that are none',
      ofMethod({ retryPolicy: { ...retryPolicy, retryableStatusCodes: ['GONE', 0] } }),
      [
        'methodConfig[0].retryPolicy.retryableStatusCodes[0] "GONE" is not a code of a failure: give a name such as UNAVAILABLE, or 1 to 16',
        'methodConfig[0].retryPolicy.retryableStatusCodes[1] 0 is not a code of a failure: give a name such as UNAVAILABLE, or 1 to 16',
        'methodConfig[0].retryPolicy.retryableStatusCodes is empty: without a code nothing is retried',
      ],
    ],
    [
      'a policy without its fields',
      ofMethod({ retryPolicy: { maxAttempts: 2 } }),
      [
        'methodConfig[0].retryPolicy.initialBackoff is missing: give a duration in seconds above 0, such as "1.5s"',
        'methodConfig[0].retryPolicy.maxBackoff is missing: give a duration in seconds above 0, such as "1.5s"',
        'methodConfig[0].retryPolicy.backoffMultiplier is missing: give above 0',
        'methodConfig[0].retryPolicy.retryableStatusCodes is missing: give a list',
      ],
    ],
    [
      'both policies',
      ofMethod({ retryPolicy, hedgingPolicy: { maxAttempts: 2 } }),
      ['methodConfig[0] has both retryPolicy and hedgingPolicy: give one of them'],
    ],
    [
      'throttling out of bounds',
      { retryThrottling: { maxTokens: 1001, tokenRatio: 0 } },
      ['retryThrottling.maxTokens is 1001: give above 0, up to 1000', 'retryThrottling.tokenRatio is 0: give above 0'],
    ],
  ])('is refused that has %s', (_what, config, problems) => {
    expect(problemsOf(config)).toEqual(problems);
  });

  it('with a mistake fails the client that is given it, in the constructor or init', async () => {
    const { parts } = await scripted([silent]);
    const serviceConfig = ofMethod({ timeout: 'soon' });
    expect(() => clientOf(parts, { serviceConfig })).toThrow('methodConfig[0].timeout');
    expect(() => clientOf(parts).init({ serviceConfig })).toThrow('methodConfig[0].timeout');
  });

  it('applies the entry of the method, else that of its service, else that for all', async () => {
    const policies = new ServicePolicies(
      {
        methodConfig: [
          { name: [{ service: 'a.A', method: 'M' }, { service: 'b.B' }], timeout: '1s' },
          { name: [{ service: 'a.A' }], timeout: '2s' },
          { name: [{}], timeout: '3s' },
        ],
      },
      systemRuntime,
    );
    const timeouts = [
      ['a.A', 'M'],
      ['a.A', 'N'],
      ['b.B', 'M'],
      ['c.C', 'M'],
    ].map(([service = '', method = '']) => policies.of({ service, method }).timeoutMs);
    expect(timeouts).toEqual([1_000, 2_000, 1_000, 3_000]);
  });
});

describe('a client with a service config', () => {
  it('retries idempotent calls by its retryPolicy', async () => {
    const { parts, calls } = await scripted([gone, fails(Code.Aborted), answers({ n: 3 }), gone, answers({})]);
    const client = clientOf(parts, { serviceConfig: ofMethod({ retryPolicy }) });
    expect(await client.method(get, 'suite')({})).toEqual({ n: 3 });
    expect(calls).toHaveLength(3);
    await expect(client.method(echo, 'suite')({})).rejects.toMatchObject({ code: Code.Unavailable });
    expect(calls).toHaveLength(4);
  });

  it('hedges idempotent calls by its hedgingPolicy', async () => {
    const { parts, calls } = await scripted([silent, answers({ n: 2 })]);
    const client = clientOf(parts, { serviceConfig: ofMethod({ hedgingPolicy: { maxAttempts: 2 } }) });
    expect(await client.method(get, 'suite')({})).toEqual({ n: 2 });
    expect(calls).toHaveLength(2);
  });

  it('stops retries when its retryThrottling is used up', async () => {
    const { parts, calls } = await scripted([gone]);
    const serviceConfig = { ...ofMethod({ retryPolicy }), retryThrottling: { maxTokens: 2, tokenRatio: 0.1 } };
    const client = clientOf(parts, { serviceConfig });
    await expect(client.method(get, 'suite')({})).rejects.toBeInstanceOf(TenonError);
    await expect(all(client.method(count, 'suite')({}))).rejects.toBeInstanceOf(TenonError);
    expect(calls).toHaveLength(2);
  });

  it('bounds the time of calls and streams, and a shorter time-out of the call stays', async () => {
    const deadlines: number[] = [];
    const { parts } = await scripted([
      (socket: Socket) => {
        deadlines.push((socket.deadline ?? Number.POSITIVE_INFINITY) - systemRuntime.clock.monotonicMs());
        void socket.send(answers({}));
      },
    ]);
    const client = clientOf(parts, { serviceConfig: ofMethod({ timeout: '100s' }), timeoutMs: 10_000 });
    await client.method(echo, 'suite')({});
    await client.method(echo, 'suite')({}, { timeoutMs: 500_000 });
    await client.method(echo, 'suite')({}, { timeoutMs: 0 });
    await client.method(echo, 'suite')({}, { timeoutMs: 50_000 });
    await all(client.method(count, 'suite')({}));
    expect(deadlines.map((leftMs) => Math.ceil(leftMs / 50_000) * 50)).toEqual([100, 100, 100, 50, 100]);
  });

  it('waits for a node with waitForReady, unless the call says otherwise', async () => {
    const { parts } = await scripted([answers({ n: 1 })]);
    const [address] = (await parts.registry.getService('suite')).flatMap(({ nodes }) =>
      nodes.map((node) => node.address),
    );
    const client = clientOf(parts, { serviceConfig: ofMethod({ waitForReady: true }) });
    await expect(client.method(echo, 'suite')({}, { service: 'later', waitForReady: false })).rejects.toMatchObject({
      reason: 'client.no_node',
    });
    const call = client.method(echo, 'suite')({}, { service: 'later' });
    const { registry } = parts;
    await announce(
      {
        ...parts,
        registry: Object.assign(Object.create(registry) as typeof registry, {
          register: (record: Parameters<typeof registry.register>[0], options: { ttlMs: number }) =>
            registry.register({ ...record, name: 'later' }, options),
        }),
      },
      'later-1',
      address ?? '',
    );
    expect(await call).toEqual({ n: 1 });
  });

  it('bounds messages, and a lower bound of the client stays', async () => {
    const { parts, calls } = await scripted([answers({ text: 'x'.repeat(500) })]);
    const limits = { maxRequestMessageBytes: 100, maxResponseMessageBytes: 1_000 };
    const client = clientOf(parts, { serviceConfig: ofMethod(limits), maxReceiveBytes: 400 });
    await expect(client.method(echo, 'suite')({ text: 'x'.repeat(200) })).rejects.toMatchObject({
      code: Code.ResourceExhausted,
    });
    expect(calls).toHaveLength(0);
    await expect(client.method(echo, 'suite')({})).rejects.toMatchObject({ code: Code.ResourceExhausted });
  });
});
