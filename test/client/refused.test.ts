import { constants } from 'node:http2';

import { expect, it } from '@jest/globals';

import { Code, contract, System } from '../../src/index.ts';
import { frame, type OnStream, rawServer } from '../transport/support.ts';
import { closing } from '../support/closing.ts';

interface Ping {
  ping(request: object): Promise<object>;
  watch(request: object): AsyncIterable<object>;
}
const source = contract<Ping>('ping.Ping', { ping: {}, watch: { stream: 'server' } });

/**
 * Refuses the first `refusals` calls, as a server does whose connection goes away as they come, and answers the rest.
 */
async function called(refusals: number) {
  let streams = 0;
  const onStream: OnStream = (stream) => {
    streams += 1;
    if (streams <= refusals) {
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(frame(Buffer.from('{}')));
  };
  const server = await rawServer(onStream);
  const system = await System.start([], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
  closing.push(
    () => server.close(),
    () => system.stop(),
  );
  return { client: system.client(source), address: server.address, streams: () => streams };
}

it('a call to an address that was refused unprocessed, since its connection went away, is sent once more', async () => {
  for (const kind of ['ping', 'watch'] as const) {
    const { client, address, streams } = await called(1);
    const reply = kind === 'ping' ? await client.ping({}, { address }) : await first(client.watch({}, { address }));
    expect(reply).toEqual({});
    expect(streams()).toBe(2);
  }
});

it('a call to an address that refuses every call is not sent for ever', async () => {
  const { client, address, streams } = await called(1_000);
  await expect(client.ping({}, { address })).rejects.toMatchObject({
    code: Code.Unavailable,
    reason: 'transport.unreachable',
  });
  expect(streams()).toBe(2);
});

async function first(replies: AsyncIterable<object>): Promise<object | undefined> {
  for await (const reply of replies) return reply;
  return undefined;
}
