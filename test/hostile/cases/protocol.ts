import { callWith, exchange, good, type HostileCase, message, paths, type Target } from '../support/cases.ts';
import {
  data,
  Flag,
  frame,
  FrameType,
  goAway,
  headers,
  type Http2Peer,
  preface,
  request,
  reset,
  settings,
  uint32,
  windowUpdate,
} from '../support/http2-peer.ts';

const { unary, bidi, hold, flood } = paths;

function one(name: string, sees: RegExp, attack: HostileCase['attack'], except?: HostileCase['except']): HostileCase {
  return { name, sees, attack, except };
}

const anyEnd = /^status \d+$|^http \d+$|^reset \d+$|^goaway \d+$|^closed$/;
const refused = /^goaway \d+$|^closed$|^reset \d+$/;
// A frame of a stream that is over may have crossed its end: most are ignored.
const passedOver = /^nothing$|^reset \d+$|^goaway \d+$|^closed$/;
const call = callWith(unary, good);

/** A connection is answered on as if nothing had been: that is what it must come to. */
function thenCalls(...bytes: readonly Uint8Array[]): HostileCase['attack'] {
  return exchange(...bytes, ...call);
}

/** Frames that HTTP/2 forbids, or too many of those it allows. */
export const protocolCases: readonly HostileCase[] = [
  one('data on a stream that was never opened', refused, exchange(data(5, good))),
  one('data on stream 0', refused, exchange(data(0, good))),
  one('a head on stream 0', refused, exchange(headers(0, request(unary)))),
  one('a head on an even stream', refused, exchange(headers(2, request(unary)))),
  one('a stream number that is less than one before', passedOver, async (target) => {
    const peer = await target.open();
    peer.write(headers(7, request(unary)), data(7, good, true), ...call);
    await peer.outcome(7);
    return peer.outcome(1, 100);
  }),
  one('a stream number that is used again', passedOver, reused),
  one('the highest stream number', anyEnd, async (target) => {
    const peer = await target.open();
    peer.write(headers(0x7f_ff_ff_ff, request(unary)), data(0x7f_ff_ff_ff, good, true));
    return peer.outcome(0x7f_ff_ff_ff);
  }),
  one('data behind the end', anyEnd, exchange(...call, data(1, good), data(1, good, true))),
  one(
    'messages behind the end of a stream',
    anyEnd,
    exchange(headers(1, request(bidi)), data(1, good, true), data(1, good), data(1, good)),
  ),
  one('a head behind the end', anyEnd, exchange(...call, headers(1, request(unary), true))),
  one('data behind a reset', anyEnd, async (target) => {
    const peer = await target.open();
    peer.write(headers(1, request(bidi)), reset(1), data(1, good), data(1, good, true), ping(), ...onStream(3));
    return peer.outcome(3);
  }),
  one('a reset of a stream that was never opened', refused, exchange(reset(9))),
  one('a reset of stream 0', refused, exchange(reset(0))),
  one(
    'a reset of three bytes',
    refused,
    exchange(headers(1, request(hold)), frame(FrameType.Reset, 0, 1, Buffer.alloc(3))),
  ),
  one('a reset before the head is whole', refused, exchange(frame(FrameType.Headers, 0, 1, Buffer.of(0x83)), reset(1))),
  one(
    'a continuation of nothing',
    refused,
    exchange(frame(FrameType.Continuation, Flag.EndHeaders, 1, Buffer.of(0x83))),
  ),
  one('another frame amid a head', refused, exchange(frame(FrameType.Headers, 0, 1, Buffer.of(0x83)), ping())),
  one('a promise from the client', refused, exchange(frame(FrameType.Push, Flag.EndHeaders, 1, uint32(2)))),
  one('a frame of a type that nobody knows', /^status 0$/, thenCalls(frame(0x5a, 0xff, 0, Buffer.alloc(100)))),
  one(
    'a frame that is larger than allowed',
    refused,
    exchange(headers(1, request(unary)), frame(FrameType.Data, 0, 1, Buffer.alloc(70_000))),
  ),
  one('a frame whose length is a lie', anyEnd, async (target) => {
    const peer = await target.open();
    peer.write(headers(1, request(unary)), frame(FrameType.Data, 1, 1, good, 0xff_ff_ff));
    return peer.outcome(1, 1_000);
  }),
  one(
    'padding that is longer than its frame',
    refused,
    exchange(headers(1, request(unary)), frame(FrameType.Data, Flag.Padded, 1, Buffer.of(255, 0, 0))),
  ),
  one(
    'frames of nothing but padding',
    /^status 0$/,
    exchange(
      headers(1, request(unary)),
      ...Array<Buffer>(100).fill(frame(FrameType.Data, Flag.Padded, 1, Buffer.alloc(256, 255).fill(0, 1))),
      data(1, good, true),
    ),
  ),
  one(
    'a stream that depends on itself',
    anyEnd,
    thenCalls(frame(FrameType.Priority, 0, 1, Buffer.concat([uint32(1), Buffer.of(1)]))),
  ),
  one('a priority of four bytes', anyEnd, thenCalls(frame(FrameType.Priority, 0, 1, Buffer.alloc(4)))),
  one('a ping of seven bytes', refused, exchange(frame(FrameType.Ping, 0, 0, Buffer.alloc(7)))),
  one('a ping on a stream', refused, exchange(frame(FrameType.Ping, 0, 1, Buffer.alloc(8)))),
  one('settings of five bytes', refused, exchange(frame(FrameType.Settings, 0, 0, Buffer.alloc(5)))),
  one('settings on a stream', refused, exchange(frame(FrameType.Settings, 0, 1, Buffer.alloc(6)))),
  one('an acknowledgement with a payload', refused, exchange(frame(FrameType.Settings, Flag.Ack, 0, Buffer.alloc(6)))),
  one(
    'an acknowledgement of nothing',
    anyEnd,
    thenCalls(...Array<Buffer>(20).fill(frame(FrameType.Settings, Flag.Ack, 0))),
  ),
  one('settings that allow pushes of 2', refused, exchange(settings([2, 2]))),
  one('settings with a window beyond 2³¹', refused, exchange(settings([4, 0xff_ff_ff_ff]))),
  one('settings with frames that are too small', refused, exchange(settings([5, 1]))),
  one('settings with frames that are too large', refused, exchange(settings([5, 0xff_ff_ff_ff]))),
  one('settings that allow no stream', /^status 0$/, thenCalls(settings([3, 0]))),
  one('settings that nobody knows', /^status 0$/, thenCalls(settings([0xfe, 1], [0xff, 2], [0, 3]))),
  one('settings with a table of four gigabytes', /^status 0$/, thenCalls(settings([1, 0xff_ff_ff_ff]))),
  one('settings with heads of one byte', anyEnd, thenCalls(settings([6, 1]))),
  one('a window that grows by nothing', refused, exchange(windowUpdate(0, 0))),
  one("a stream's window that grows by nothing", refused, exchange(headers(1, request(hold)), windowUpdate(1, 0))),
  one('a window beyond 2³¹', refused, exchange(windowUpdate(0, 0x7f_ff_ff_ff), windowUpdate(0, 0x7f_ff_ff_ff))),
  one("a stream's window beyond 2³¹", refused, exchange(headers(1, request(hold)), windowUpdate(1, 0x7f_ff_ff_ff))),
  one('a window of a stream that was never opened', refused, exchange(windowUpdate(9, 10))),
  one('a window of three bytes', refused, exchange(frame(FrameType.WindowUpdate, 0, 0, Buffer.alloc(3)))),
  one('a farewell on a stream', refused, exchange(frame(FrameType.GoAway, 0, 1, Buffer.alloc(8)))),
  one('a farewell of seven bytes', refused, exchange(frame(FrameType.GoAway, 0, 0, Buffer.alloc(7)))),
  one('a farewell, and a call', anyEnd, thenCalls(goAway())),
  one('a farewell amid a call', anyEnd, exchange(headers(1, request(unary)), goAway(), data(1, good, true))),
  one('a farewell of an error', anyEnd, thenCalls(goAway(0, 2))),
  one('more data than the window holds', refused, async (target) => {
    const peer = await target.open();
    peer.write(headers(1, request(paths.deaf)));
    for (let n = 0; n < 80; n += 1) peer.write(data(1, Buffer.alloc(16_384)));
    return peer.outcome();
  }),
  {
    name: 'ten thousand resets at once (rapid reset)',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) => rapidReset(target, hold),
  },
  {
    name: 'ten thousand resets of streams',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) => rapidReset(target, flood),
  },
  {
    name: 'ten thousand heads that are wrong, so that the server resets',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) => many(target, (n) => headers(2 * n + 1, [...request(unary), ['connection', 'x']], true)),
  },
  { name: 'twenty thousand pings', sees: anyEnd, isHeavy: true, attack: (target) => flooded(target, ping(), 20_000) },
  {
    name: 'ten thousand settings',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) => flooded(target, settings([3, 100]), 10_000),
  },
  {
    name: 'ten thousand empty settings',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) => flooded(target, settings(), 10_000),
  },
  {
    name: 'ten thousand priorities',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) =>
      many(target, (n) => frame(FrameType.Priority, 0, 2 * n + 1, Buffer.concat([uint32(0), Buffer.of(n % 256)]))),
  },
  {
    name: 'ten thousand windows',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) => flooded(target, windowUpdate(0, 1), 10_000),
  },
  {
    name: 'ten thousand frames without data',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) => onOpenStream(target, data(1, Buffer.alloc(0)), 10_000),
  },
  {
    name: 'ten thousand frames of one byte',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) => onOpenStream(target, data(1, Buffer.of(0)), 10_000),
  },
  {
    name: 'ten thousand frames that nobody knows',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) => flooded(target, frame(0x77, 0, 0, Buffer.alloc(10)), 10_000),
  },
  {
    name: 'two thousand calls open at once',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) =>
      many(target, (n) => Buffer.concat([headers(2 * n + 1, request(hold)), data(2 * n + 1, good, true)]), 2_000),
  },
  {
    name: 'two thousand calls that never send a message',
    sees: anyEnd,
    isHeavy: true,
    attack: (target) => many(target, (n) => headers(2 * n + 1, request(n % 2 === 0 ? unary : bidi)), 2_000),
  },
  one('the preface twice', refused, exchange(preface)),
  one(
    'a message in a hundred frames, with more pings between than are suffered',
    /^status 0$|^goaway 11$|^closed$/,
    exchange(
      headers(1, request(unary)),
      ...[...message(Buffer.from(`0a64${'61'.repeat(100)}`, 'hex'))].flatMap((byte) => [
        data(1, Buffer.of(byte)),
        ping(),
      ]),
      data(1, Buffer.alloc(0), true),
    ),
  ),
];

function ping(): Buffer {
  return frame(FrameType.Ping, 0, 0, Buffer.alloc(8));
}

function onStream(id: number): Uint8Array[] {
  return [headers(id, request(unary)), data(id, good, true)];
}

async function reused(target: Target): Promise<string> {
  const peer = await target.open();
  peer.write(...call);
  await peer.outcome();
  peer.frames.length = 0;
  peer.write(...call);
  return peer.outcome(1, 100);
}

function rapidReset(target: Target, path: string): Promise<string> {
  return many(target, (n) =>
    Buffer.concat([headers(2 * n + 1, request(path)), data(2 * n + 1, good, true), reset(2 * n + 1)]),
  );
}

async function many(target: Target, bytes: (n: number) => Uint8Array, count = 10_000): Promise<string> {
  const peer = await target.open();
  for (let n = 0; n < count && !peer.isClosed; n += 100) {
    await room(peer, peer.write(...Array.from({ length: 100 }, (_, m) => bytes(n + m))));
  }
  return afterwards(peer, 2 * count + 1);
}

async function flooded(target: Target, bytes: Uint8Array, count: number): Promise<string> {
  const peer = await target.open();
  await repeated(peer, bytes, count);
  return afterwards(peer, 1);
}

async function onOpenStream(target: Target, bytes: Uint8Array, count: number): Promise<string> {
  const peer = await target.open();
  peer.write(headers(1, request(bidi)));
  await repeated(peer, bytes, count);
  return afterwards(peer, 3);
}

async function repeated(peer: Http2Peer, bytes: Uint8Array, count: number): Promise<void> {
  for (let n = 0; n < count && !peer.isClosed; n += 100)
    await room(peer, peer.write(...Array<Uint8Array>(100).fill(bytes)));
}

/** Either the connection was given up, or a good call on it is answered. */
async function afterwards(peer: Http2Peer, stream: number): Promise<string> {
  peer.write(...onStream(stream));
  return peer.outcome(stream, 10_000);
}

async function room(peer: Http2Peer, hasRoom: boolean): Promise<void> {
  if (!hasRoom) await Promise.race([new Promise((resolve) => peer.socket.once('drain', resolve)), peer.closed]);
}
