import { expect, it } from '@jest/globals';

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
import { eventually } from '../../src/testing/waiting.ts';
import { describeWithRedis } from '../support/servers.ts';

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

const transports = ['grpc', 'memory', 'tcp', 'unix'];
const codecs = ['proto', 'json'];
const registries = ['memory', 'mdns', 'redis'];
const selectors = ['random', 'round-robin'];
const brokers = ['memory', 'redis', 'redis-streams'];

// mDNS announces IP addresses, and these transports have none.
const rows = transports.flatMap((transport) =>
  registries
    .filter((registry) => !(registry === 'mdns' && (transport === 'memory' || transport === 'unix')))
    .flatMap((registry) =>
      codecs.flatMap((codec) => brokers.map((broker) => [transport, codec, registry, broker] as const)),
    ),
);

describeWithRedis('any combination of implementations', (redis) => {
  it.each(rows)('transport %s, codec %s, registry %s, broker %s', async (transport, codec, registry, broker) => {
    const at = (name: string): string => (name.startsWith('redis') ? `${name}://${redis.address}` : name);
    const system = await System.start([Shop], {
      profile: 'local',
      env: {
        TENON_TRANSPORT: transport,
        TENON_CODEC: codec,
        TENON_REGISTRY: at(registry),
        TENON_BROKER: at(broker),
        TENON_SELECTOR: selectors[(codec.length + broker.length) % 2],
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
      await eventually('the event is handled', () => handler.sold.length > 0, 5_000);
      expect(handler.sold).toEqual(['tea']);
      expect(String(system.get(Broker))).toBe(broker);
    } finally {
      await system.stop();
    }
  });
});
