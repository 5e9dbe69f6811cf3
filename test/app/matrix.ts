import { describe, expect, it } from '@jest/globals';

import { inject } from 'inversify';
import { fileURLToPath } from 'node:url';

import {
  Broker,
  Client,
  type ClientOf,
  Code,
  type Context,
  Handler,
  Rpc,
  Service,
  Subscribe,
  System,
  TenonError,
} from '../../src/index.ts';
import type { BackendRoom, BackendRow } from '../../src/app/internal/backend-row.ts';
import { backendRow, backendRows } from '../../src/app/internal/backend-table.ts';
import type { Marshaler } from '../../src/codec/codec.ts';
import { eventually } from '../support/waiting.ts';
import { scalars, schemaOf } from '../codec/support.ts';
import { type Combination, pairwise } from '../support/pairwise.ts';
import { BackendServer, describeWithServers } from '../support/servers.ts';

const proto = fileURLToPath(new URL('./programs/shop.proto', import.meta.url));

@Handler('shop.Shop', { proto })
class ShopHandler {
  readonly sold: string[] = [];
  constructor(@inject(Client) private readonly publisher: Client) {}

  @Rpc() async sell(request: { item: string; count: bigint }, ctx: Context): Promise<{ item: string; left: bigint }> {
    if (request.item === 'moon')
      throw new TenonError({ code: Code.NotFound, reason: 'shop.not_for_sale', message: 'the moon is not for sale' });
    await this.publisher.publish(this.publisher.newMessage('sold', { item: request.item }), { ctx });
    return { item: request.item, left: 2n ** 60n - request.count };
  }
  @Rpc() async *list(request: { item: string; count: bigint }): AsyncIterable<{ item: string; left: bigint }> {
    for (let left = request.count; left > 0n; left -= 1n) yield { item: request.item, left };
  }
  @Subscribe('sold') async onSold(event: { item: string }): Promise<void> {
    this.sold.push(event.item);
  }
}

@Service({ name: 'shop', handlers: [ShopHandler] })
class Shop {}

/** A codec that carries nothing but bytes, or a registry in which nobody can announce itself, cannot serve a shop. */
async function canServe(room: BackendRoom, { load }: BackendRow): Promise<boolean> {
  const { implementation } = await load({});
  if (room === 'codec')
    return succeeds(() => (new implementation() as Marshaler).marshal(schemaOf('kinds.Scalars'), scalars));
  const { capabilities } = implementation as { readonly capabilities?: { readonly registers?: boolean } };
  return capabilities?.registers !== false;
}

function succeeds(work: () => unknown): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}

const rooms = Object.keys(backendRows) as BackendRoom[];

/**
 * Defines the tests of a service on every pair of the backends that can serve and that `isIn` takes. The servers that
 * they need are started once.
 */
export async function describeMatrix(isIn: (row: BackendRow) => boolean): Promise<void> {
  const factors: Record<string, string[]> = {};
  for (const room of rooms) {
    const able: string[] = [];
    for (const row of backendRows[room]) if (isIn(row) && (await canServe(room, row))) able.push(row.name);
    factors[room] = able;
  }
  const combinations = pairwise(factors);

  describe('the matrix', () => {
    it('has every pair of backends that can serve, and fewer rows than there are combinations', () => {
      for (const room of rooms)
        for (const other of rooms.filter((one) => one !== room))
          for (const name of factors[room] ?? [])
            for (const its of factors[other] ?? [])
              expect(combinations.some((one) => one[room] === name && one[other] === its)).toBe(true);
      expect(factors).toMatchObject({ codec: ['proto', 'json', 'msgpack', 'cbor'] });
      const all = Object.values(factors).reduce((product, names) => product * names.length, 1);
      expect(combinations.length).toBeLessThan(all);
    });
  });

  const groups = new Map<string, { readonly servers: Set<string>; readonly rows: Combination[] }>();
  for (const one of combinations) {
    const servers = serversOf(one);
    const missing = servers.filter((server) => !new BackendServer(server).definition.isInstalled());
    const key = missing.length > 0 ? `that need ${missing.join(' and ')}` : 'of backends';
    const group = groups.get(key) ?? { servers: new Set(), rows: [] };
    groups.set(key, group);
    for (const server of servers) group.servers.add(server);
    group.rows.push(one);
  }
  for (const [key, { servers, rows }] of groups)
    describeWithServers(`combinations ${key}`, [...servers].sort(), (addressOf, envOf) => {
      it.each(rows)('$transport, $codec, $registry, $selector, $broker', (one) => sells(one, addressOf, envOf), 60_000);
    });
}

function serversOf(one: Combination): string[] {
  const needed = rooms.map((room) => backendRow(room, one[room] ?? '')?.server);
  return [...new Set(needed.filter((server) => server !== undefined))];
}

async function sells(
  { transport, codec, registry, selector, broker }: Combination,
  addressOf: (server: string) => string,
  envOf: (server: string) => Readonly<Record<string, string>>,
): Promise<void> {
  const at = (room: BackendRoom, name = ''): string => {
    const server = backendRow(room, name)?.server;
    return server === undefined ? name : `${name}://${addressOf(server)}`;
  };
  const system = await System.start([Shop], {
    profile: 'local',
    env: {
      TENON_TRANSPORT: at('transport', transport),
      TENON_CODEC: codec,
      TENON_REGISTRY: at('registry', registry),
      ...envOf(backendRow('registry', registry ?? '')?.server ?? ''),
      TENON_BROKER: at('broker', broker),
      TENON_SELECTOR: selector,
      TENON_MDNS_INTERFACE: '127.0.0.1',
      TENON_MDNS_PORT: String(30_000 + (process.pid % 10_000)),
      TENON_LOG_LEVEL: 'silent',
      TENON_LAME_DUCK_MS: '0',
    },
  });
  try {
    const shop: ClientOf<ShopHandler> = system.client(ShopHandler);
    const handler = system.get(ShopHandler);
    expect(await shop.sell({ item: 'tea', count: 1n })).toEqual({ item: 'tea', left: 2n ** 60n - 1n });
    const listed: bigint[] = [];
    for await (const { left } of shop.list({ item: 'tea', count: 3n })) listed.push(left);
    expect(listed).toEqual([3n, 2n, 1n]);
    await expect(shop.sell({ item: 'moon', count: 1n })).rejects.toMatchObject({
      code: Code.NotFound,
      reason: 'shop.not_for_sale',
    });
    await eventually('the event is handled', () => handler.sold.length > 0, 30_000);
    expect(handler.sold).toEqual(['tea']);
    expect(String(system.get(Broker))).toBe(broker);
  } finally {
    await system.stop();
  }
}
