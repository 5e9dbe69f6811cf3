import { afterEach, describe, expect, it } from '@jest/globals';
import { type Container, inject } from 'inversify';

import { Context } from '../../src/context/context.ts';
import { Metadata } from '../../src/context/metadata.ts';
import {
  Client,
  Handler,
  type Interceptor,
  Logger,
  Registry,
  Rpc,
  Service,
  Subscribe,
  System,
} from '../../src/index.ts';
import { ConsoleLogger } from '../../src/logger/console.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { ServerInterceptors } from '../../src/server/server.ts';
import { eventually } from '../support/waiting.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';
const traceparent = `00-${traceId}-${spanId}-01`;

/** The fields that `ctx.logger` gives its lines, for a call with these headers. */
function fieldsOf(metadata: Record<string, string | string[]>): Readonly<Record<string, unknown>> {
  let given = {};
  const logger: Logger = { ...silentLogger, child: (fields) => ((given = fields), silentLogger) };
  void new Context({ service: 's', endpoint: 'e', peer: 'p', metadata: new Metadata(metadata), logger }).logger;
  return given;
}

describe('the logger of a call', () => {
  it('has the fields of the call, and its trace if it came with a traceparent', () => {
    expect(fieldsOf({})).toEqual({ service: 's', endpoint: 'e', peer: 'p' });
    expect(fieldsOf({ traceparent })).toEqual({
      service: 's',
      endpoint: 'e',
      peer: 'p',
      trace_id: traceId,
      span_id: spanId,
    });
  });

  it.each([
    ['a later version with more behind it', `01-${traceId}-${spanId}-00-more`],
    ['a later version', `fe-${traceId}-${spanId}-00`],
  ])('reads a traceparent of %s', (_what, text) => {
    expect(fieldsOf({ traceparent: text })).toMatchObject({ trace_id: traceId, span_id: spanId });
  });

  it.each([
    ['version ff', `ff-${traceId}-${spanId}-01`],
    ['more behind version 00', `${traceparent}-more`],
    ['capital letters', traceparent.toUpperCase()],
    ['a trace of zeros', `00-${'0'.repeat(32)}-${spanId}-01`],
    ['a span of zeros', `00-${traceId}-${'0'.repeat(16)}-01`],
    ['a trace that is too short', `00-${traceId.slice(1)}-${spanId}-01`],
    ['no flags', `00-${traceId}-${spanId}`],
    ['something before it', `x${traceparent}`],
    ['several in one', `${traceparent},${traceparent}`],
    ['nothing', ''],
  ])('ignores a traceparent with %s', (_what, text) => {
    expect(fieldsOf({ traceparent: text })).toEqual({ service: 's', endpoint: 'e', peer: 'p' });
  });

  it('is made once, when it is first used', () => {
    let made = 0;
    const logger: Logger = { ...silentLogger, child: () => ((made += 1), silentLogger) };
    const ctx = new Context({ service: 's', endpoint: 'e', logger });
    expect(made).toBe(0);
    expect(ctx.logger).toBe(ctx.logger);
    expect(made).toBe(1);
  });
});

const systems: System[] = [];
afterEach(async () => {
  await Promise.all(systems.splice(0).map((system) => system.stop()));
});

type Line = Readonly<Record<string, unknown>>;

/** Services of these names, each with a handler of calls and events that logs; and all lines of the process. */
async function started(names: readonly string[], format: 'json' | 'text' = 'json', options: object = {}) {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  const methods: object[] = [];
  const about: Interceptor = (next, { kind, service, method, path, topic }) => {
    if (kind === 'event') methods.push({ service, method, path, topic });
    return next;
  };
  const made = names.map((name) => {
    @Handler(`${name}.Api`)
    class Api {
      readonly #logger: Logger;
      // Made before anything is known of the service.
      constructor(@inject(Logger) logger: Logger) {
        this.#logger = logger.child({ part: 'api' });
      }
      @Rpc() async hello(_request: object, ctx: Context): Promise<object> {
        ctx.logger.info('called', { topic: ctx.topic });
        this.#logger.info('of the process');
        return {};
      }
      @Subscribe(`${name}-orders`, { queue: name, deadLetter: false, retry: 0 })
      onOrder({ fails }: { fails?: boolean }, ctx: Context): void {
        ctx.logger.info('event', { seen: [ctx.service, ctx.endpoint, ctx.topic] });
        if (fails) throw new RangeError('no');
      }
    }
    @Service({ name, version: '1.2.3', handlers: [Api] })
    class One {}
    return { Api, One };
  });
  const system = await System.start(
    made.map(({ One }) => One),
    {
      profile: 'test',
      bind: (container: Container) => {
        container.rebind(Logger).toConstantValue(new ConsoleLogger({ format, write }));
        container.bind(ServerInterceptors).toConstantValue(about);
      },
      ...options,
    },
  );
  systems.push(system);
  const json = (): Line[] => lines.map((line) => JSON.parse(line) as Line);
  const publish = (topic: string, payload: object, headers: Record<string, string> = {}): Promise<void> => {
    const client = system.get(Client);
    return client.publish({ ...client.newMessage(topic, payload), headers });
  };
  return { system, made, lines, json, methods, publish };
}

const named = (name: string, node: unknown): Line => ({
  'service.name': name,
  'service.instance.id': node,
  'service.version': '1.2.3',
  'process.pid': process.pid,
});

describe('a JSON line of a running service', () => {
  it('names service, node, version and process, for every logger of the process', async () => {
    const { system, made, json } = await started(['shop'], 'json', { env: { TENON_SERVER_ID: 'a1' } });
    await system.client(made[0]!.Api).hello({});
    // A logger that was made early, and one of the backends'.
    system.get(Logger).child({ own: 1 }).warn('late');
    await system.stop();
    expect(json().map(({ message }) => message)).toEqual(
      expect.arrayContaining(['shop serves', 'called', 'of the process', 'late', 'shop stopped']),
    );
    for (const line of json()) expect(line).toMatchObject(named('shop', 'shop-a1'));
  });

  it('names the node by its id in the registry', async () => {
    const { system, json } = await started(['shop']);
    const [record] = await system.get(Registry).getService('shop');
    expect(json()[0]).toMatchObject(named('shop', record?.nodes[0]?.id));
  });

  it('names the service that it belongs to, and none if it belongs to the process', async () => {
    const { system, made, json, publish } = await started(['shop', 'stock']);
    for (const { Api } of made) await system.client(Api).hello({});
    for (const name of ['shop', 'stock']) await publish(`${name}-orders`, { fails: true });
    await eventually('both gave up', () => json().filter(({ level }) => level === 'error').length === 2);
    await system.stop();
    const namesOf = (text: RegExp): unknown[] =>
      json()
        .filter(({ message }) => text.test(String(message)))
        .map((line) => line['service.name']);
    for (const text of [/ serves$/, /^called$/, /^event$/, / stopped$/, /^an event is dropped/])
      expect(new Set(namesOf(text))).toEqual(new Set(['shop', 'stock']));
    expect(namesOf(/^of the process$/)).toEqual([undefined, undefined]);
  });

  it('has the trace that came with the call', async () => {
    const { system, made, json } = await started(['shop']);
    await system.client(made[0]!.Api).hello({}, { metadata: { traceparent } });
    expect(json().find(({ message }) => message === 'called')).toMatchObject({
      service: 'shop.Api',
      endpoint: 'Hello',
      trace_id: traceId,
      span_id: spanId,
    });
  });

  it('has the service, the method, the topic and the trace of an event', async () => {
    const { json, publish, methods } = await started(['shop']);
    await publish('shop-orders', {}, { traceparent });
    await eventually('the event', () => json().some(({ message }) => message === 'event'));
    const {
      time: _time,
      level: _level,
      'service.instance.id': node,
      ...line
    } = json().find(({ message }) => message === 'event') ?? {};
    expect(line).toEqual({
      message: 'event',
      ...named('shop', node),
      'service.instance.id': undefined,
      service: 'shop',
      endpoint: 'Api.onOrder',
      'messaging.destination.name': 'shop-orders',
      trace_id: traceId,
      span_id: spanId,
      seen: ['shop', 'Api.onOrder', 'shop-orders'],
    });
    expect(methods).toEqual([
      { service: 'shop', method: 'Api.onOrder', path: 'shop-orders → Api.onOrder', topic: 'shop-orders' },
    ]);
  });
});

describe('a text line of a running service', () => {
  it("shows the call or the event, without the service's name and without the trace", async () => {
    const { system, made, lines, publish } = await started(['shop'], 'text');
    await system.client(made[0]!.Api).hello({}, { metadata: { traceparent } });
    await publish('shop-orders', {}, { traceparent });
    await eventually('the event', () => lines.some((line) => line.includes(' event ')));
    const shown = lines.map((line) => line.replace(/^\S+ /, '').replace(/ peer=\S+/, ''));
    expect(shown).toContain('info  called service=shop.Api endpoint=Hello');
    expect(shown).toContain('info  of the process part=api');
    expect(shown).toContain(
      'info  event service=shop endpoint=Api.onOrder topic=shop-orders seen=["shop","Api.onOrder","shop-orders"]',
    );
  });
});

describe('the log line of a start', () => {
  it('shows address, node and implementations, without secrets', async () => {
    const env = {
      TENON_SERVER_ID: 'a1',
      TENON_TRANSPORT: 'grpc',
      TENON_SERVER_ADVERTISE: 'shop.example:443',
      TENON_REGISTRY: 'redis://me:secret@127.0.0.1:1',
      TENON_BROKER: 'redis://me:secret@127.0.0.1:2',
    };
    @Service({ name: 'quiet', handlers: [] })
    class Quiet {}
    for (const [format, expected] of [
      [
        'text',
        'info  quiet serves address=shop.example:443 node=quiet-a1 transport=grpc codec=application/grpc+proto registry=redis@127.0.0.1:1 selector=peak-ewma broker=redis@127.0.0.1:2 profile=test',
      ],
      [
        'json',
        {
          message: 'quiet serves',
          address: 'shop.example:443',
          node: 'quiet-a1',
          transport: 'grpc',
          codec: 'application/grpc+proto',
          registry: 'redis@127.0.0.1:1',
          selector: 'peak-ewma',
          broker: 'redis@127.0.0.1:2',
          profile: 'test',
        },
      ],
    ] as const) {
      const lines: string[] = [];
      const logger = new ConsoleLogger({ format, write: (line) => lines.push(line) });
      const bind = (container: Container): void => void container.rebind(Logger).toConstantValue(logger);
      const system = await System.start([Quiet], { profile: 'test', env, bind });
      await system.stop();
      const line = lines.find((one) => one.includes('quiet serves')) ?? '';
      if (typeof expected === 'string') expect(line.replace(/^\S+ /, '')).toBe(expected);
      else expect(JSON.parse(line)).toMatchObject(expected);
      expect(lines.join('\n')).not.toContain('secret');
    }
  }, 30_000);

  it('is written once per service, each with its own address', async () => {
    const { system, json } = await started(['shop', 'stock']);
    const lines = json().filter(({ message }) => String(message).endsWith(' serves'));
    expect(lines.map(({ message, address, broker }) => [message, address, broker])).toEqual(
      system.services.map((service) => [`${String(service)} serves`, service.server().address, 'memory']),
    );
  });
});
