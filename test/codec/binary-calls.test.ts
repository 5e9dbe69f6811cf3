import { describe, expect, it } from '@jest/globals';

import { Client, Code, Handler, Rpc, Service, Subscribe, System } from '../../src/index.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { collect } from '../../src/testing/recorders.ts';
import { eventually } from '../support/waiting.ts';

/** What JSON cannot carry. */
interface Blob {
  readonly id: bigint;
  readonly data: Uint8Array;
  readonly ratio: number;
}

const blob: Blob = { id: 2n ** 60n, data: Uint8Array.of(0, 255), ratio: NaN };

@Handler('blobs.Blobs')
class BlobHandler {
  readonly stored: Blob[] = [];

  @Rpc() async echo(request: Blob): Promise<Blob> {
    return request;
  }
  @Rpc() async odd(): Promise<unknown> {
    return new Map();
  }
  @Rpc({ stream: 'bidi' }) async *many(requests: AsyncIterable<Blob>): AsyncIterable<Blob> {
    for await (const request of requests) yield request;
  }
  @Subscribe('stored') async onStored(event: Blob): Promise<void> {
    this.stored.push(event);
  }
}

@Service({ name: 'blobs', handlers: [BlobHandler] })
class Blobs {}

describe.each(['msgpack', 'cbor'])('TENON_CODEC=%s', (codec) => {
  describe.each(['memory', 'grpc', 'grpc-js', 'tcp'])('over %s', (transport) => {
    it('carries calls, streams and events', async () => {
      const env = {
        TENON_CODEC: codec,
        TENON_TRANSPORT: transport,
        TENON_LOG_LEVEL: 'silent',
        TENON_LAME_DUCK_MS: '0',
      };
      const system = await System.start([Blobs], { profile: 'local', env });
      try {
        const client = system.client(BlobHandler);
        expect(await client.echo(blob)).toEqual(blob);
        async function* twice(): AsyncIterable<Blob> {
          yield blob;
          yield { ...blob, id: 2n ** 61n };
        }
        expect(await collect(client.many(twice()))).toEqual([blob, { ...blob, id: 2n ** 61n }]);
        const refused = await failureOf(client.echo({ ...blob, id: 2n ** 64n }));
        expect([refused.code, refused.reason]).toEqual([Code.InvalidArgument, 'codec.encode']);
        expect((await failureOf(client.odd())).code).toBe(Code.Internal);
        const publisher = system.get(Client);
        await publisher.publish(publisher.newMessage('stored', blob, { contentType: `application/${codec}` }));
        const { stored } = system.get(BlobHandler);
        await eventually('the event is handled', () => stored.length === 1);
        expect(stored).toEqual([blob]);
      } finally {
        await system.stop();
      }
    });
  });
});

describe('a call that names its codec', () => {
  it('is answered in it, whatever the process prefers', async () => {
    const env = { TENON_TRANSPORT: 'grpc', TENON_LOG_LEVEL: 'silent', TENON_LAME_DUCK_MS: '0' };
    const system = await System.start([Blobs], { profile: 'local', env });
    try {
      const client = system.client(BlobHandler);
      for (const contentType of ['application/grpc+msgpack', 'application/grpc+cbor', 'application/vnd.msgpack'])
        expect(await client.echo(blob, { contentType })).toEqual(blob);
    } finally {
      await system.stop();
    }
  });
});
