import { createInterface } from 'node:readline';

import { Broker, codeName, Registry, System, TenonError } from 'tenon';

import { type Env, goMicroBroker, program, SettingsError, tenonEnv } from './settings.ts';
import { StaticNodes, StaticRegistry } from './static-registry.ts';
import { type TestApi, testSource } from './testing-api.ts';

/** A line that was read. */
interface Order {
  readonly id: unknown;
  readonly op: string;
  readonly service?: string;
  readonly address?: string;
  readonly size?: number;
  readonly responseSize?: number;
  readonly timeoutMs?: number;
  readonly topic?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

await program(async () => answerLines(process.env));

/** Answers each line of standard input with one of standard output, until there are no more. */
async function answerLines(env: Env): Promise<void> {
  if (env['REGISTRY'] === 'dns') throw new SettingsError('the registry "dns" comes later: give STATIC_NODES for now');
  const bindBroker = goMicroBroker(env);
  const system = await System.start([], {
    env: tenonEnv(env),
    bind: (container) => {
      bindBroker(container);
      if (env['REGISTRY'] !== 'static') return;
      container.bind(StaticNodes).toConstantValue(env['STATIC_NODES'] ?? '');
      container.rebind(Registry).to(StaticRegistry);
    },
  });
  const operations = operationsOf(system);
  const pending = new Set<Promise<void>>();
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === '') continue;
    const answer = answerTo(line, operations).then((result) => print(result));
    pending.add(answer);
    void answer.finally(() => pending.delete(answer));
  }
  await Promise.all(pending);
  await system.stop();
}

type Operations = Readonly<Record<string, (order: Order) => Promise<object>>>;

function operationsOf(system: System): Operations {
  const test = system.client<TestApi>(testSource);
  return {
    ping: async () => ({}),
    call: async ({ service, address, size = 0, responseSize = 0, timeoutMs }) => {
      const request = { payload: { body: new Uint8Array(size) }, responseSize, fillServerId: true };
      const { serverId, payload } = await test.unaryCall(request, { service, address, timeoutMs });
      return { serverId, bytes: payload?.body.length ?? 0 };
    },
    list: async ({ service = '' }) => ({ nodes: await addressesOf(system.get(Registry), service) }),
    publish: async ({ topic = '', headers = {}, body = '' }) => {
      const broker = system.get(Broker);
      await broker.connect();
      await broker.publish(topic, { headers, body: Buffer.from(body, 'base64') });
      return {};
    },
  };
}

async function addressesOf(registry: Registry, service: string): Promise<readonly string[]> {
  try {
    const records = await registry.getService(service);
    return records.flatMap(({ nodes }) => nodes.map(({ address }) => address));
  } catch (error) {
    if (TenonError.is(error) && error.reason === 'registry.not_found') return [];
    throw error;
  }
}

async function answerTo(line: string, operations: Operations): Promise<object> {
  let order: Order | undefined;
  try {
    order = JSON.parse(line) as Order;
    const operation = operations[order.op];
    if (!operation) throw new SettingsError(`there is no operation "${order.op}"`);
    return { id: order.id, ok: true, ...(await operation(order)) };
  } catch (error) {
    const { code, message } = TenonError.from(error);
    return { id: order?.id ?? null, ok: false, code, codeName: codeName(code), message };
  }
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
