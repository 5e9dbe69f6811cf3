import { readFileSync } from 'node:fs';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { Metadata } from '../../src/context/metadata.ts';
import { Code } from '../../src/errors/errors.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { answerOf, bytesOf, contextWith, later, textOf } from '../../src/testing/internal/transport-fixture.ts';
import { eventually } from '../support/waiting.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import type { Listener, Socket } from '../../src/transport/transport.ts';
import { UnixTransport } from '../../src/transport/unix.ts';
import { methods } from './support.ts';
import { hex, preamble, rawField, rawFrame, settings, WirePeer, wireServer } from './wire-peer.ts';

const path = rawField(':path', '/wire.Wire/Unary');
const none = Buffer.alloc(0);

/** The example of the page: who says what, in order. */
const example = readFileSync('docs/wire.md', 'utf8')
  .split('```text\n')[1]!
  .split('```')[0]!
  .split('\n')
  .flatMap((line) => {
    const match = /^(client|server) +((?:[0-9a-f]{2} {1,2})+)/.exec(`${line} `);
    return match ? [{ who: match[1]!, bytes: hex(match[2]!) }] : [];
  });

const saidBy = (who: string): Buffer =>
  Buffer.concat(example.filter((line) => line.who === who).map(({ bytes }) => bytes));

describe.each([
  ['tcp', () => new TcpTransport()],
  ['unix', () => new UnixTransport()],
])('the wire of %s', (_name, make) => {
  let transport: ReturnType<typeof make>;
  let listener: Listener;
  let server: Socket[];

  beforeEach(async () => {
    transport = make();
    server = [];
    listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods), maxReceiveBytes: 1_000_000 });
  });
  afterEach(async () => {
    await listener.close();
    await transport.close();
  });

  const answering = async (socket: Socket): Promise<void> => {
    server.push(socket);
    await socket.recv();
    void socket.send({
      headers: new Metadata({ from: 'server' }),
      body: bytesOf('pong'),
      status: { code: Code.Ok, message: '', metadata: new Metadata({ took: '3' }) },
    });
  };

  it('is what the page says, from both sides', async () => {
    listener.accept((socket) => void answering(socket));
    const peer = WirePeer.dial(listener.addr());
    const client = saidBy('client');
    peer.send(client);
    expect((await peer.hears(saidBy('server').length)).toString('hex')).toBe(saidBy('server').toString('hex'));
    peer.socket.destroy();
    expect(example.length).toBeGreaterThan(20);
  });

  it('is what the page says, whatever the pieces that it comes in', async () => {
    listener.accept((socket) => void answering(socket));
    const peer = WirePeer.dial(listener.addr());
    for (const byte of saidBy('client')) {
      peer.send(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await peer.hears(saidBy('server').length)).toString('hex')).toBe(saidBy('server').toString('hex'));
    peer.socket.destroy();
  });
});

describe('the client on the wire', () => {
  let transport: TcpTransport;
  let peers: WirePeer[];
  let server: Awaited<ReturnType<typeof wireServer>>;

  beforeEach(async () => {
    transport = new TcpTransport();
    peers = [];
    server = await wireServer((peer) => peers.push(peer));
  });
  afterEach(async () => {
    await transport.close();
    server.close();
  });

  const peer = async (): Promise<WirePeer> => {
    await eventually('the connection', () => peers.length > 0);
    return peers[0]!;
  };
  const welcome = async (): Promise<WirePeer> => {
    const one = await peer();
    one.send(preamble, settings);
    return one;
  };
  const unary = (deadline?: number) =>
    transport.unary(
      server.address,
      { headers: new Metadata({ who: 'ada' }), body: bytesOf('ping') },
      { route: methods.unary, ctx: deadline === undefined ? undefined : contextWith(deadline) },
    );

  it('says what the page says, and understands what the page says', async () => {
    const calls = [unary()];
    const one = await peer();
    await one.hears(preamble.length + settings.length);
    await new Promise((resolve) => setTimeout(resolve, 20));
    // It is not known yet what the server is.
    expect(one.heard.toString('hex')).toBe(Buffer.concat([preamble, settings]).toString('hex'));
    const said = saidBy('server');
    const answers = said.subarray(preamble.length + settings.length);
    one.send(said.subarray(0, preamble.length + settings.length));
    for (let at = 0; at < answers.length;) {
      if (at > 0) calls.push(unary());
      const id = answers.readUInt32BE(at + 5);
      await one.sees(`call ${id}`, (frame) => frame.id === id);
      const end = at + 9 + answers.readUIntBE(at, 3);
      one.send(answers.subarray(at, end));
      await calls.at(-1);
      at = end;
    }
    for (const { headers, body, status } of await Promise.all(calls)) {
      expect([headers?.get('from'), textOf(body!), status?.code, status?.metadata?.get('took')]).toEqual([
        'server',
        'pong',
        Code.Ok,
        '3',
      ]);
    }
    expect(calls).toHaveLength(3);
    expect(one.heard.toString('hex')).toBe(saidBy('client').toString('hex'));
  });

  it('sends what is left of the time, however long', async () => {
    const days = 400 * 24 * 3_600_000;
    const call = unary(performance.now() + days);
    const one = await welcome();
    const { flags, payload } = await one.sees('the call', ({ type }) => type === 1);
    expect(flags & 0x04).toBe(0x04);
    let timeout = 0;
    for (let index = 0, factor = 1; ; index += 1, factor *= 128) {
      timeout += (payload[index]! & 0x7f) * factor;
      if (payload[index]! < 0x80) break;
    }
    expect(timeout).toBeGreaterThan(days - 60_000);
    expect(timeout).toBeLessThanOrEqual(days);
    one.send(rawFrame(2, 0x90, 1, hex('00 70')));
    expect((await call).status?.code).toBe(Code.Ok);
  });

  it('sends a large body in parts, as far as there is credit, and other calls between them', async () => {
    const size = 300_000;
    const call = transport.unary(server.address, { body: new Uint8Array(size).fill(7) }, { route: methods.unary });
    const one = await welcome();
    await one.sees(
      'the last part there is credit for',
      () => one.frames.filter(({ type }) => type === 2).length === 15,
    );
    const small = unary();
    await one.sees('a small call', ({ type, id }) => type === 1 && id === 2);
    const parts = one.frames.filter(({ type, id }) => type === 2 && id === 1);
    // 15 parts cost 15 × (16,384 + 64) of 262,144.
    expect(parts.map(({ flags }) => flags)).toEqual([0xc2, ...Array.from({ length: 14 }, () => 0x82)]);
    expect(parts[0]!.payload.readUInt32BE(0)).toBe(size);
    one.send(rawFrame(4, 0, 1, hex('00 03 00 00')));
    const last = await one.sees('the last part', ({ id, flags }) => id === 1 && (flags & 0x83) === 0x81);
    expect(last.payload.length).toBe(size % 16_384);
    one.send(rawFrame(2, 0x90, 2, hex('00 70')), rawFrame(2, 0x90, 1, hex('00 71')));
    expect([textOf((await small).body!), textOf((await call).body!)]).toEqual(['p', 'q']);
  });

  it('gives back all of the credit that was used, to the byte', async () => {
    const socket = transport.dial(server.address, { route: methods.bidi });
    void socket.send({ body: bytesOf('x') });
    const one = await welcome();
    await one.sees('the call', ({ type }) => type === 1);
    const credits = (): number[] =>
      one.frames.filter(({ type }) => type === 4).map(({ payload }) => payload.readUInt32BE(0));
    // Eight of them, with what they cost beside, are half a window.
    for (let round = 1; round <= 4; round += 1) {
      for (let part = 0; part < 8; part += 1) {
        one.send(rawFrame(2, 0x80, 1, Buffer.alloc(16_320)));
        await socket.recv();
      }
      await eventually('credit', () => credits().length === round);
      expect(credits()).toEqual(Array.from({ length: round }, () => 131_072));
    }
  });

  it('answers a ping', async () => {
    const call = unary();
    const one = await welcome();
    one.send(rawFrame(5, 0, 0));
    await one.sees('the pong', ({ type }) => type === 6);
    one.send(rawFrame(2, 0x90, 1, hex('00 70')));
    await call;
  });

  it('pings a server that is silent, and takes one that does not answer for lost', async () => {
    const patient = new TcpTransport({ keepaliveMs: 20, keepaliveTimeoutMs: 60 });
    const call = patient.unary(server.address, { body: bytesOf('x') }, { route: methods.unary });
    const failure = failureOf(call);
    const one = await welcome();
    await one.sees('a ping', ({ type }) => type === 5);
    expect(await failure).toMatchObject({
      code: Code.Unavailable,
      reason: 'transport.connection_lost',
      message: expect.stringContaining('a ping was not answered within 60 ms') as unknown,
    });
    await patient.close();
  });

  it('gives up a connection on which three calls in a row ran out of time, with not a word from the server', async () => {
    const late = (): Promise<unknown> => failureOf(unary(performance.now() + 200));
    const first = late();
    const one = await welcome();
    await one.sees('the call', ({ id }) => id === 1);
    expect(await first).toMatchObject({ code: Code.DeadlineExceeded });
    for (let call = 1; call < 3; call += 1) {
      expect(one.frames.some(({ type }) => type === 7)).toBe(false);
      expect(await late()).toMatchObject({ code: Code.DeadlineExceeded });
    }
    await one.closes();
    const next = unary();
    await eventually('another connection', () => peers.length === 2);
    peers[1]!.send(preamble, settings);
    await peers[1]!.sees('the next call', ({ id }) => id === 1);
    peers[1]!.send(rawFrame(2, 0x90, 1, hex('00 70')));
    expect(textOf((await next).body!)).toBe('p');
  });

  it('keeps a connection whose server speaks, however many calls run out of time', async () => {
    for (let call = 0; call < 5; call += 1) {
      const failed = failureOf(unary(performance.now() + 60));
      const one = call === 0 ? await welcome() : peers[0]!;
      await one.sees('the call', ({ type, id }) => type === 1 && id === call + 1);
      one.send(rawFrame(6, 0, 0));
      expect(await failed).toMatchObject({ code: Code.DeadlineExceeded });
    }
    expect(peers).toHaveLength(1);
    expect(peers[0]!.isClosed).toBe(false);
  });

  it('answers no pings of a server that does not read', async () => {
    const call = later(unary());
    const one = await welcome();
    await one.sees('the call', ({ type }) => type === 1);
    one.socket.pause();
    const pings = Buffer.alloc(9 * 100_000, rawFrame(5, 0, 0));
    for (let round = 0; round < 40; round += 1) {
      await new Promise<void>((resolve) => one.socket.write(pings, () => resolve()));
    }
    const before = one.heard.length;
    one.socket.resume();
    one.send(rawFrame(2, 0x90, 1, hex('00 70')));
    expect(textOf((await call).body!)).toBe('p');
    // What the system keeps for a reader, and half a megabyte: nothing like the 36 MB that asked for it.
    expect(one.heard.length - before).toBeLessThan(20_000_000);
  });

  it('tells the server of a call that it gives up', async () => {
    const socket = transport.dial(server.address, { route: methods.bidi });
    void socket.send({ body: bytesOf('x') });
    const one = await welcome();
    await one.sees('the call', ({ type }) => type === 1);
    socket.abort(Code.Cancelled);
    expect((await one.sees('the reset', ({ type }) => type === 3)).payload.toString('hex')).toBe('01');
  });

  it('lets calls wait while the server takes no more at a time', async () => {
    const calls = [unary(), unary()];
    const one = await peer();
    one.send(preamble, rawFrame(0, 0, 0, hex('00 04 00 00  00 00 00 01  00 80')));
    await one.sees('the first call', ({ id }) => id === 1);
    expect(one.frames.some(({ id }) => id === 2)).toBe(false);
    one.send(rawFrame(2, 0x90, 1, hex('00 70')));
    await one.sees('the second call', ({ id }) => id === 2);
    one.send(rawFrame(2, 0x90, 2, hex('00 71')));
    expect((await Promise.all(calls)).map(({ body }) => textOf(body!))).toEqual(['p', 'q']);
  });

  it('knows what a server that goes away did not look at', async () => {
    const calls = [unary(), unary()];
    const failed = failureOf(calls[1]!);
    const one = await welcome();
    await one.sees('both calls', ({ id }) => id === 2);
    one.send(rawFrame(7, 0, 0, hex('00 00 00 01')));
    expect(await failed).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
    one.send(rawFrame(2, 0x90, 1, hex('00 70')));
    expect(textOf((await calls[0]!).body!)).toBe('p');
    await one.closes();
  });

  it('knows a call that was refused for one that was not looked at', async () => {
    const failed = failureOf(unary());
    const one = await welcome();
    await one.sees('the call', ({ id }) => id === 1);
    one.send(rawFrame(3, 1, 1, hex('0e')));
    expect(await failed).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
  });

  it('does not know what became of a call whose connection is lost', async () => {
    const failed = failureOf(unary());
    const one = await welcome();
    await one.sees('the call', ({ id }) => id === 1);
    one.socket.destroy();
    expect(await failed).toMatchObject({ code: Code.Unavailable, reason: 'transport.connection_lost' });
  });

  it.each([
    ['closed', (one: WirePeer) => void one.socket.end()],
    ['reset', (one: WirePeer) => void one.socket.resetAndDestroy()],
  ])('reads what had arrived of a call whose connection was %s, before the error', async (_how, cut) => {
    const socket = transport.dial(server.address, { route: methods.server });
    void socket.send({ body: bytesOf('x') });
    socket.end();
    void socket.recv();
    const one = await welcome();
    await one.sees('the call', ({ type }) => type === 1);
    const messages = Array.from({ length: 201 }, (_, index) => rawFrame(2, 0x80, 1, bytesOf(String(index))));
    one.send(...messages, rawFrame(5, 0, 0));
    await one.sees('the pong', ({ type }) => type === 6);
    cut(one);
    await one.closes();
    const { bodies, error } = await answerOf(socket);
    expect(bodies).toEqual(Array.from({ length: 200 }, (_, index) => String(index + 1)));
    expect(error).toMatchObject({ code: Code.Unavailable, reason: 'transport.connection_lost' });
  });

  it('knows that a server which closes before it introduced itself has processed nothing', async () => {
    const failed = failureOf(unary());
    (await peer()).socket.destroy();
    expect(await failed).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
  });

  it.each([
    [
      'a web server',
      Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
      'its answer begins with "HTTP/1.1 400 Bad Request',
    ],
    ['a gRPC server', hex('00 00 06 04 00 00 00 00 00 00 05 00 00 40 00'), "does not speak tenon's own protocol"],
    ['a later version', hex('74 65 6e 6f 6e 0d 0a 02'), 'it speaks version 2 of the protocol, and this side version 1'],
  ])('names %s', async (_who, answer, told) => {
    const failed = failureOf(unary());
    (await peer()).send(answer);
    expect(await failed).toMatchObject({
      code: Code.Unknown,
      reason: 'transport.not_tenon',
      message: expect.stringContaining(told) as unknown,
    });
  });

  it.each([
    ['a frame that is too long', hex('01 00 01 02 00 00 00 00 01')],
    ['a frame of no type', rawFrame(8, 0, 0)],
    ['a call', rawFrame(1, 0x80, 2, path)],
    ['an answer to no call', rawFrame(2, 0x90, 9, hex('00'))],
    ['an answer that is cut off', rawFrame(2, 0x10, 1, hex('05 20'))],
    ['a field that was not remembered', rawFrame(2, 0x08, 1, hex('01 05'))],
    ['more than there is credit for', Buffer.concat(Array.from({ length: 5_000 }, () => rawFrame(2, 0x80, 1, none)))],
    ['settings a second time', settings],
    [
      'metadata without end, which costs no credit',
      Buffer.concat(
        Array.from({ length: 2_000 }, () => rawFrame(2, 0x08, 1, Buffer.concat([hex('01'), rawField('k', 'v')]))),
      ),
    ],
    [
      'metadata after a message',
      Buffer.concat([
        rawFrame(2, 0x80, 1, bytesOf('x')),
        rawFrame(2, 0x08, 1, Buffer.concat([hex('01'), rawField('k', 'v')])),
      ]),
    ],
    ['a status whose length is no number', rawFrame(2, 0x10, 1, Buffer.concat([hex('05'), Buffer.alloc(168, 0x80)]))],
  ])('ends a connection on which comes %s, and connects again for the next call', async (_what, bytes) => {
    const socket = transport.dial(server.address, { route: methods.server });
    void socket.send({ body: bytesOf('x') });
    const answer = answerOf(socket);
    const one = await welcome();
    await one.sees('the call', ({ id }) => id === 1);
    one.send(bytes);
    expect((await answer).error).toMatchObject({ code: Code.Unavailable, reason: 'transport.connection_lost' });
    expect(await one.sees('the farewell', ({ type }) => type === 7)).toMatchObject({ flags: 1 });
    const next = unary();
    await eventually('another connection', () => peers.length === 2);
    peers[1]!.send(preamble, settings);
    await peers[1]!.sees('the next call', ({ id }) => id === 1);
    peers[1]!.send(rawFrame(2, 0x90, 1, hex('00 70')));
    expect(textOf((await next).body!)).toBe('p');
  });
});
