import { connect } from 'node:net';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { okStatus } from '../../src/context/status.ts';
import { Code } from '../../src/errors/errors.ts';
import { bytesOf, echo, textOf } from '../../src/testing/internal/transport-fixture.ts';
import { eventually } from '../support/waiting.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import type { Listener, Socket } from '../../src/transport/transport.ts';
import { methods } from './support.ts';
import { hex, preamble, rawField, rawFrame, type SeenFrame, settings, WirePeer } from './wire-peer.ts';

const path = (name: string): Buffer => rawField(':path', `/wire.Wire/${name}`);
const body = (text: string): Buffer => Buffer.from(text);
const join = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);
/** As long as that, all of its bytes say that more follow, and the weight of the last is beyond every number. */
const longNumber = join(Buffer.alloc(167, 0x80), hex('00'));
const unaryCall = (id: number, text = 'x'): Buffer => rawFrame(1, 0x81, id, join(path('Unary'), body(text)));

describe('a server of frames', () => {
  let transport: TcpTransport;
  let listener: Listener;
  let sockets: Socket[];
  let peers: WirePeer[];

  beforeEach(async () => {
    transport = new TcpTransport({ handshakeTimeoutMs: 600, maxCalls: 3 });
    sockets = [];
    peers = [];
    listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods), maxReceiveBytes: 100_000 });
    listener.accept((socket, route) => {
      sockets.push(socket);
      // What breaks a call off is not the handler's mistake.
      if (route !== methods.bidi) (async () => echo(socket, route))().catch(() => {});
    });
  });
  afterEach(async () => {
    // Whatever came before, a good call is answered.
    const { body: reply } = await transport.unary(listener.addr(), { body: bytesOf('good') }, { route: methods.unary });
    expect(textOf(reply!)).toBe('good');
    for (const { socket } of peers) socket.destroy();
    await listener.close();
    await transport.close();
  });

  const greet = async (): Promise<WirePeer> => {
    const peer = await WirePeer.greet(listener.addr());
    peers.push(peer);
    return peer;
  };
  const dial = (): WirePeer => {
    const peer = WirePeer.dial(listener.addr());
    peers.push(peer);
    return peer;
  };
  const farewell = ({ type }: SeenFrame): boolean => type === 7;

  it.each([
    ['letters', Buffer.from('hello, is anybody there?')],
    ['zeros', Buffer.alloc(64)],
    ['the preface of HTTP/2', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')],
    ['a TLS hello', hex('16 03 01 02 00 01 00 01 fc 03 03')],
    ['almost the preamble', hex('74 65 6e 6f 6e 0a 01 00')],
  ])('hangs up on a stranger that says %s, without a word', async (_what, bytes) => {
    const peer = dial();
    peer.send(bytes);
    await peer.closes();
    expect(peer.heard.length).toBe(0);
  });

  it('tells a web browser what it is not', async () => {
    const peer = dial();
    peer.send(Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'));
    await peer.closes();
    expect(peer.heard.toString()).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[^]*This port speaks tenon's own protocol/);
  });

  it('names its version to a client of another one', async () => {
    const peer = dial();
    peer.send(hex('74 65 6e 6f 6e 0d 0a 07'));
    await peer.closes();
    expect(peer.heard.toString()).toContain('this side speaks version 1 of the protocol');
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['half a preamble', preamble.subarray(0, 5)],
    ['a preamble without settings', preamble],
    ['half of its settings', join(preamble, settings.subarray(0, 12))],
  ])('waits no longer than told for a client that says %s', async (_what, bytes) => {
    const peer = dial();
    peer.send(bytes);
    await peer.closes();
  });

  it.each<[string, Buffer]>([
    ['a frame longer than allowed', hex('01 00 01 01 00 00 00 00 01')],
    ['the longest length there is', hex('ff ff ff 01 00 00 00 00 01')],
    ['a frame of a type that is none', rawFrame(8, 0, 0)],
    ['a frame of type 255', rawFrame(255, 0, 0)],
    ['settings a second time', settings],
    ['a call numbered 0', unaryCall(0)],
    ['a number used twice', join(unaryCall(5), unaryCall(5))],
    ['a number lower than the last', join(unaryCall(5), unaryCall(4))],
    ['a message of a call that never was', rawFrame(2, 0x80, 9, body('x'))],
    ['a reset of a call that never was', rawFrame(3, 0, 9, hex('01'))],
    ['credit for a call that never was', rawFrame(4, 0, 9, hex('00 00 00 01'))],
    ['a call without a path', rawFrame(1, 0x80, 1)],
    ['a call whose path is another field', rawFrame(1, 0x80, 1, rawField('who', 'ada'))],
    ['a call whose path is cut off', rawFrame(1, 0x80, 1, path('Unary').subarray(0, 12))],
    ['a path of a length beyond the frame', rawFrame(1, 0x80, 1, hex('00 05 3a 70 61 74 68 ff ff 7f 2f'))],
    ['a path that is not text', rawFrame(1, 0x80, 1, rawField(':path', '/\u0000\u0007'))],
    ['a number without an end', rawFrame(1, 0x84, 1, Buffer.alloc(40, 0xff))],
    ['a number of 168 bytes, which would be none', rawFrame(1, 0x84, 1, longNumber)],
    ['a number of nine bytes', rawFrame(1, 0x84, 1, hex('80 80 80 80 80 80 80 80 00'))],
    ['a number beyond 2^53', rawFrame(1, 0x84, 1, hex('80 80 80 80 80 80 80 10'))],
    ['a path of a length that is no number', rawFrame(1, 0x80, 1, join(hex('00 05 3a 70 61 74 68'), longNumber))],
    ['a number of fields that is none', rawFrame(1, 0x88, 1, join(path('Unary'), longNumber))],
    ['a field from a place where none is', rawFrame(1, 0x88, 1, join(path('Unary'), hex('01 09')))],
    ['a million fields', rawFrame(1, 0x88, 1, join(path('Unary'), hex('c0 84 3d')))],
    ['a key in capitals', rawFrame(1, 0x88, 1, join(path('Unary'), hex('01'), rawField('Who', 'ada')))],
    ['a key with a line end', rawFrame(1, 0x88, 1, join(path('Unary'), hex('01'), rawField('a\r\nb', 'ada')))],
    ['a value with a line end', rawFrame(1, 0x88, 1, join(path('Unary'), hex('01'), rawField('who', 'a\r\nb: c')))],
    [
      'a field too long to remember',
      rawFrame(1, 0x80, 1, join(hex('01 05'), body(':path'), hex('80 10'), Buffer.alloc(2048, 0x61))),
    ],
    ['a status from a client', rawFrame(1, 0x90, 1, join(path('Unary'), hex('00')))],
    [
      'metadata in the middle of a call',
      join(rawFrame(1, 0x80, 1, join(path('Bidi'), body('x'))), rawFrame(2, 0x08, 1, hex('00'))),
    ],
    ['bytes after the sections of a frame', rawFrame(1, 0x01, 1, join(path('Unary'), body('x')))],
    ['a part without a size', rawFrame(1, 0x82, 1, join(path('Unary'), Buffer.alloc(16_384)))],
    ['a size without a body', rawFrame(1, 0x40, 1, join(path('Unary'), hex('00 00 00 01')))],
    [
      'a part of another length than parts have',
      rawFrame(1, 0xc2, 1, join(path('Unary'), hex('00 00 40 00'), body('x'))),
    ],
    [
      'a body longer than its size',
      join(
        rawFrame(1, 0xc2, 1, join(path('Unary'), hex('00 00 40 01'), Buffer.alloc(16_384))),
        rawFrame(2, 0x81, 1, body('xx')),
      ),
    ],
    [
      'a body shorter than its size',
      join(
        rawFrame(1, 0xc2, 1, join(path('Unary'), hex('00 00 40 09'), Buffer.alloc(16_384))),
        rawFrame(2, 0x81, 1, body('x')),
      ),
    ],
    [
      'a body inside a body',
      join(
        rawFrame(1, 0xc2, 1, join(path('Unary'), hex('00 00 80 00'), Buffer.alloc(16_384))),
        rawFrame(2, 0xc0, 1, hex('00 00 00 01 00')),
      ),
    ],
    [
      'more credit than there can be',
      join(
        rawFrame(1, 0x80, 1, join(path('Bidi'), body('x'))),
        rawFrame(4, 0, 1, hex('ff ff ff ff')),
        rawFrame(4, 0, 1, hex('ff ff ff ff')),
      ),
    ],
    [
      'credit that is cut off',
      join(rawFrame(1, 0x80, 1, join(path('Bidi'), body('x'))), rawFrame(4, 0, 1, hex('00 01'))),
    ],
    [
      'a second end',
      join(rawFrame(1, 0x81, 1, join(path('Bidi'), body('x'))), rawFrame(2, 0x01, 1), rawFrame(2, 0x01, 1)),
    ],
    ['a message after its end', join(rawFrame(1, 0x81, 1, join(path('Bidi'), body('x'))), rawFrame(2, 0x80, 1))],
    ['a reset without a code', join(rawFrame(1, 0x80, 1, join(path('Bidi'), body('x'))), rawFrame(3, 0, 1))],
  ])('ends the connection of a client that sends %s, and says why', async (_what, bytes) => {
    const peer = await greet();
    peer.send(bytes);
    const { flags, payload } = await peer.sees('the farewell', farewell);
    expect(flags).toBe(1);
    expect(payload.length).toBeGreaterThan(10);
    await peer.closes();
  });

  it.each([
    ['a call before its settings', unaryCall(1)],
    ['settings that are cut off', rawFrame(0, 0, 0, hex('00 04 00 00'))],
    ['a window too small for two parts', rawFrame(0, 0, 0, hex('00 00 40 00  00 00 27 10  00 80'))],
  ])('ends the connection of a client that begins with %s', async (_what, bytes) => {
    const peer = dial();
    peer.send(preamble, bytes);
    expect((await peer.sees('the farewell', farewell)).flags).toBe(1);
    await peer.closes();
  });

  it('ends the connection of a client that sends more than its call has credit for', async () => {
    const peer = await greet();
    peer.send(rawFrame(1, 0, 1, path('Bidi')));
    for (let part = 0; part < 20; part += 1) peer.send(rawFrame(2, 0x80, 1, Buffer.alloc(16_384)));
    expect((await peer.sees('the farewell', farewell)).payload.toString()).toContain(
      'call 1 sent more than it had credit for',
    );
    await eventually('the handler to hear of it', () => sockets.length === 1);
    await peer.closes();
  });

  it('gives no credit for what its handler does not read, and gives it when it does', async () => {
    const peer = await greet();
    peer.send(rawFrame(1, 0, 1, path('Bidi')));
    for (let part = 0; part < 15; part += 1) peer.send(rawFrame(2, 0x80, 1, Buffer.alloc(16_384)));
    await eventually('the call', () => sockets.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(peer.frames.filter(({ type }) => type === 4)).toEqual([]);
    for (let part = 0; part < 16; part += 1) await sockets[0]!.recv();
    await peer.sees('credit', ({ type }) => type === 4);
  });

  it('gives back all of the credit that was used, to the byte', async () => {
    const peer = await greet();
    peer.send(rawFrame(1, 0, 1, path('Bidi')));
    await eventually('the call', () => sockets.length === 1);
    await sockets[0]!.recv();
    const given = (): number =>
      peer.frames.filter(({ type }) => type === 4).reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);
    // Eight of them, with what they cost beside, are half a window.
    for (let round = 1; round <= 4; round += 1) {
      for (let part = 0; part < 8; part += 1) {
        peer.send(rawFrame(2, 0x80, 1, Buffer.alloc(16_320)));
        await sockets[0]!.recv();
      }
      await eventually('credit', () => peer.frames.filter(({ type }) => type === 4).length === round);
      expect(given()).toBe(round * 131_072);
    }
    // What it gives it also takes: all of the window can be used again.
    for (let part = 0; part < 16; part += 1) peer.send(rawFrame(2, 0x80, 1, Buffer.alloc(16_320)));
    peer.send(rawFrame(5, 0, 0));
    await peer.sees('the pong', ({ type }) => type === 6);
  });

  it('refuses a body by its announced size, before it comes', async () => {
    const peer = await greet();
    peer.send(rawFrame(1, 0xc2, 1, join(path('Unary'), hex('7f ff ff ff'), Buffer.alloc(16_384))));
    const { flags, payload } = await peer.sees('the status', ({ type, id }) => type === 2 && id === 1);
    expect([flags & 0x10, payload[0]]).toEqual([0x10, Code.ResourceExhausted]);
    // What is still on its way is ignored, and the connection good.
    peer.send(rawFrame(2, 0x82, 1, Buffer.alloc(16_384)), unaryCall(2, 'next'));
    expect((await peer.sees('an answer', ({ id }) => id === 2)).payload.toString()).toContain('next');
  });

  it('takes no more calls at a time than it said, and says that it did not look at the others', async () => {
    const peer = await greet();
    for (let id = 1; id <= 5; id += 1) peer.send(rawFrame(1, 0, id, path('Bidi')));
    for (const refused of [4, 5]) {
      const { flags } = await peer.sees('the refusal', ({ type, id }) => type === 3 && id === refused);
      expect(flags).toBe(1);
    }
    expect(sockets).toHaveLength(3);
    void sockets[0]!.close();
    peer.send(unaryCall(6, 'room'));
    expect((await peer.sees('an answer', ({ id }) => id === 6)).payload.toString()).toContain('room');
  });

  it('counts a call that was reset for as long as its handler runs, in floods too', async () => {
    const peer = await greet();
    let broken = 0;
    for (let id = 1; id <= 5_000; id += 1) peer.send(rawFrame(1, 0, id, path('Bidi')), rawFrame(3, 0, id, hex('01')));
    await peer.sees('the last refusal', ({ type, id }) => type === 3 && id === 5_000);
    expect(sockets).toHaveLength(3);
    for (const socket of sockets) socket.onAbort(({ code }) => (broken += code === Code.Cancelled ? 1 : 0));
    expect(broken).toBe(3);
    for (const socket of sockets) void socket.close();
    for (const socket of sockets) void socket.close();
    peer.send(unaryCall(5_001, 'still there'));
    expect((await peer.sees('an answer', ({ id }) => id === 5_001)).payload.toString()).toContain('still there');
  });

  it('forgets calls that were reset and whose handlers are done, thousands of them', async () => {
    const peer = await greet();
    listener.accept((socket) => {
      sockets.push(socket);
      socket.onAbort(() => void socket.close());
    });
    for (let id = 1; id <= 5_000; id += 1) peer.send(rawFrame(1, 0, id, path('Bidi')), rawFrame(3, 0, id, hex('01')));
    peer.send(rawFrame(5, 0, 0));
    await peer.sees('the pong', ({ type }) => type === 6);
    expect(sockets.length).toBeGreaterThan(3);
    expect(peer.frames.some(({ type }) => type === 3)).toBe(false);
    listener.accept((socket, route) => void echo(socket, route));
  });

  it('reads no further for a client that does not read, and goes on when it does', async () => {
    const peer = await greet();
    peer.socket.pause();
    const count = 3_000;
    const large = 'x'.repeat(4_000);
    let accepted = true;
    for (let id = 1; id <= count; id += 1) accepted = peer.socket.write(unaryCall(id, large)) && accepted;
    await new Promise((resolve) => setTimeout(resolve, 300));
    // Of 12 MB of requests, only as many were looked at as replies fit into the buffers on the way.
    expect(sockets.length).toBeLessThan(count);
    peer.socket.resume();
    await peer.sees('the last answer', ({ id }) => id === count);
    expect(sockets.length).toBeGreaterThan(0);
  });

  it('looks at no call that comes after its farewell', async () => {
    const peer = await greet();
    peer.send(rawFrame(1, 0, 1, path('Bidi')));
    await eventually('the call', () => sockets.length === 1);
    const other = await transport.listen('127.0.0.1:0', { routes: Object.values(methods) });
    const taken: Socket[] = [];
    other.accept((socket) => void taken.push(socket));
    const late = await WirePeer.greet(other.addr());
    peers.push(late);
    late.send(rawFrame(1, 0, 1, path('Bidi')));
    await eventually('the call', () => taken.length === 1);
    const drained = other.drain();
    await late.sees('the farewell', farewell);
    // A call whose further frames are on their way too ends no other call.
    late.send(rawFrame(1, 0, 2, path('Bidi')), rawFrame(2, 0x80, 2, body('x')), rawFrame(4, 0, 2, hex('00 00 00 01')));
    late.send(rawFrame(3, 0, 2, hex('01')), unaryCall(3), rawFrame(5, 0, 0));
    await late.sees('the pong', ({ type }) => type === 6);
    expect(taken).toHaveLength(1);
    expect(late.frames.some(({ id }) => id > 1)).toBe(false);
    void taken[0]!.send({ status: okStatus });
    await drained;
    await other.close();
  });

  it('outlives a client that is cut off in the middle of a frame', async () => {
    const peer = await greet();
    peer.send(unaryCall(1).subarray(0, 14));
    await new Promise((resolve) => setTimeout(resolve, 20));
    peer.socket.destroy();
    const half = connect({ host: '127.0.0.1', port: Number(listener.addr().split(':')[1]), allowHalfOpen: true });
    half.end(join(preamble, settings, unaryCall(1)));
    await new Promise((resolve) => half.once('close', resolve).resume());
  });

  it('tells the handlers of a client whose connection broke the rules', async () => {
    const peer = await greet();
    peer.send(rawFrame(1, 0, 1, path('Bidi')));
    await eventually('the call', () => sockets.length === 1);
    const told = new Promise<Code>((resolve) => sockets[0]!.onAbort(({ code }) => resolve(code)));
    peer.send(rawFrame(9, 0, 0));
    expect(await told).toBe(Code.Cancelled);
    void sockets[0]!.send({ body: bytesOf('late'), status: okStatus });
  });
});
