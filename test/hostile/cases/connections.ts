import { setTimeout as sleep } from 'node:timers/promises';

import { callWith, good, type HostileCase, message, paths, type Target } from '../support/cases.ts';
import {
  data,
  Flag,
  frame,
  FrameType,
  headers,
  hpack,
  type Http2Peer,
  preface,
  request,
  reset,
  settings,
  windowUpdate,
} from '../support/http2-peer.ts';

const { unary, server, client, bidi, hold, flood, deaf } = paths;
const anyEnd = /^status \d+$|^http \d+$|^reset \d+$|^goaway \d+$|^closed$/;

/** Says it, and sees what comes of it: for what is no HTTP/2. */
function says(name: string, bytes: string | Uint8Array, sees = /^closed$|^goaway \d+$/): HostileCase {
  return {
    name,
    sees,
    attack: async (target) => {
      const peer = await target.connect();
      peer.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
      return peer.outcome();
    },
  };
}

/** Says it, waits a little, and is gone. */
function leaves(name: string, how: 'end' | 'cut' | 'reset', ...bytes: readonly Uint8Array[]): HostileCase {
  return {
    name,
    attack: async (target) => {
      const peer = await target.connect();
      if (bytes.length > 0) peer.write(...bytes);
      await sleep(5);
      if (how === 'end') peer.socket.end();
      else if (how === 'cut') peer.destroy();
      else peer.socket.resetAndDestroy();
      return undefined;
    },
  };
}

const opening = Buffer.concat([preface, settings()]);
const head = (path: string) => headers(1, request(path));
const big = message(Buffer.from('0a0161', 'hex'), 0, 1_000);

/** Every place of a call at which a caller may be gone: what was sent until then. */
const phases: readonly (readonly [name: string, bytes: (path: string) => Uint8Array[]])[] = [
  ['amid the head', (path) => [frame(FrameType.Headers, 0, 1, hpack(request(path)))]],
  ['behind the head', (path) => [head(path)]],
  ['amid a prefix', (path) => [head(path), data(1, Buffer.of(0, 0))]],
  ['amid a message', (path) => [head(path), data(1, big)]],
  ['behind a message', (path) => [head(path), data(1, good)]],
  ['behind its end', (path) => [head(path), data(1, good, true)]],
];

/** Connections that are no HTTP/2, that say nothing, that are slow, or that go. */
export const connectionCases: readonly HostileCase[] = [
  says('HTTP/1.1', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'),
  says(
    'an upgrade from HTTP/1.1',
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n',
  ),
  says('a hello of TLS', Buffer.from('16030100c8010000c40303', 'hex')),
  says('a whole record of TLS', Buffer.concat([Buffer.from('1603010200', 'hex'), Buffer.alloc(512, 1)])),
  says('random bytes', Buffer.from(Array.from({ length: 5_000 }, (_, n) => (n * 31_337 + 7) % 256))),
  says('zeros', Buffer.alloc(10_000)),
  says('a preface with a letter changed', 'PRI * HTTP/2.0\r\n\r\nXM\r\n\r\n'),
  says('a preface without settings', Buffer.concat([preface, headers(1, request(unary)), data(1, good, true)])),
  says('the preface, and random bytes', Buffer.concat([preface, Buffer.alloc(100, 0xff)])),
  says('SSH', 'SSH-2.0-OpenSSH_9.2\r\n'),
  says("a proxy's line", 'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n'),
  leaves('a connection that says nothing and ends', 'end'),
  leaves('a connection that says nothing and is cut', 'cut'),
  leaves('a connection that says nothing and is reset', 'reset'),
  leaves('half a preface', 'cut', preface.subarray(0, 10)),
  leaves('nothing but the preface', 'cut', preface),
  leaves('nothing but the preface, and an end', 'end', preface),
  leaves('settings, and nothing', 'cut', opening),
  leaves('settings, and an end', 'end', opening),
  leaves('settings, and a reset', 'reset', opening),
  leaves('half a frame', 'cut', opening, frame(FrameType.Headers, 4, 1, Buffer.alloc(10)).subarray(0, 7)),
  ...Object.entries({ unary, server, client, bidi, hold, flood, deaf }).flatMap(([kind, path]) =>
    phases.map(([phase, bytes], index) =>
      leaves(`${kind}: gone ${phase}`, index % 2 === 0 ? 'cut' : 'reset', opening, ...bytes(path)),
    ),
  ),
  ...Object.entries({ unary, server, client, bidi, hold, flood, deaf }).map(([kind, path]) => ({
    name: `${kind}: reset behind the first message, and the connection goes on`,
    sees: /^status 0$/,
    attack: async (target: Target) => {
      const peer = await target.open();
      peer.write(head(path), data(1, good));
      await sleep(5);
      peer.write(reset(1), windowUpdate(0, 1_000_000), headers(3, request(unary)), data(3, good, true));
      return peer.outcome(3);
    },
  })),
  {
    name: 'settings that are never acknowledged',
    sees: /^status 0$/,
    attack: async (target) => {
      const peer = await target.connect();
      peer.write(opening, ...callWith(unary, good));
      return peer.outcome();
    },
  },
  {
    name: 'a preface, a byte at a time',
    sees: /^status 0$/,
    attack: (target) => byteByByte(target, Buffer.concat([opening, ...callWith(unary, good)])),
  },
  {
    name: 'a stream that is never read',
    attack: async (target) => {
      const peer = await target.open();
      peer.socket.pause();
      peer.write(head(flood), data(1, good, true));
      await sleep(100);
      return undefined;
    },
  },
  {
    name: 'a stream with a window of nothing',
    attack: async (target) => {
      const peer = await target.open([4, 0]);
      peer.write(head(flood), data(1, good, true));
      await sleep(50);
      return undefined;
    },
  },
  {
    name: 'a stream with a window of a byte at a time',
    attack: async (target) => {
      const peer = await target.open([4, 0]);
      peer.write(head(flood), data(1, good, true));
      for (let n = 0; n < 50; n += 1) {
        peer.write(windowUpdate(1, 1));
        await sleep(1);
      }
      return undefined;
    },
  },
  {
    name: 'a window that shrinks below nothing',
    attack: async (target) => {
      const peer = await target.open();
      peer.write(head(flood), data(1, good, true));
      await peer.until(() => peer.frames.find(({ type }) => type === FrameType.Data), 2_000);
      peer.write(settings([4, 0]), windowUpdate(0, 1_000_000));
      await sleep(10);
      peer.write(settings([4, 1]));
      await sleep(10);
      return undefined;
    },
  },
  {
    name: 'an answer with a window of nothing, and a deadline',
    attack: async (target) => {
      const peer = await target.open([4, 0]);
      peer.write(...callWith(unary, good, { 'grpc-timeout': '20m' }));
      await sleep(60);
      return undefined;
    },
  },
  ...Object.entries({ server, bidi, hold, flood, deaf }).map(([kind, path]) => ({
    name: `${kind}: a deadline that passes`,
    sees: kind === 'server' ? anyEnd : /^status 4$/,
    attack: async (target: Target) => {
      const peer = await target.open();
      peer.write(
        headers(1, request(path, { 'grpc-timeout': '30m' })),
        data(1, good, kind === 'hold' || kind === 'flood'),
        windowUpdate(0, 0x3f_ff_ff_ff),
        windowUpdate(1, 0x3f_ff_ff_ff),
      );
      return peer.outcome();
    },
  })),
  {
    name: 'requests without end, to a handler that reads none',
    attack: async (target) => {
      const peer = await target.open();
      peer.write(head(deaf));
      let window = 65_535;
      const more = data(1, Buffer.concat(Array<Buffer>(100).fill(good)));
      for (; window > more.length; window -= more.length) peer.write(more);
      await sleep(20);
      return undefined;
    },
  },
  {
    name: 'a call that is answered before its requests have come',
    sees: anyEnd,
    attack: async (target) => {
      const peer = await target.open();
      peer.write(head(unary), data(1, good), data(1, good));
      const outcome = await peer.outcome();
      for (let n = 0; n < 20; n += 1) peer.write(data(1, good));
      await sleep(5);
      return outcome;
    },
  },
  {
    name: 'a thousand connections that say nothing',
    isHeavy: true,
    attack: async (target) => {
      await many(target, 1_000, () => []);
      return undefined;
    },
  },
  {
    name: 'a thousand connections with a call each, cut',
    isHeavy: true,
    attack: async (target) => {
      await many(target, 1_000, (n) => [opening, head(n % 2 === 0 ? hold : bidi), data(1, good)]);
      return undefined;
    },
  },
  {
    name: 'a thousand connections with half a call each, cut',
    isHeavy: true,
    attack: async (target) => {
      await many(target, 1_000, () => [opening, frame(FrameType.Headers, Flag.EndHeaders, 1, hpack(request(unary)))]);
      return undefined;
    },
  },
];

async function byteByByte(target: Target, bytes: Buffer): Promise<string> {
  const peer = await target.connect();
  for (const byte of bytes) {
    peer.write(Buffer.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  return peer.outcome();
}

/** So many connections, a hundred at a time. */
async function many(target: Target, count: number, bytes: (n: number) => readonly Uint8Array[]): Promise<void> {
  for (let n = 0; n < count; n += 100) {
    const peers: Http2Peer[] = await Promise.all(Array.from({ length: 100 }, () => target.connect()));
    for (const [index, peer] of peers.entries()) {
      const said = bytes(n + index);
      if (said.length > 0) peer.write(...said);
    }
    await sleep(5);
    for (const peer of peers) peer.destroy();
  }
}
