// What a connection costs that has made one call and is idle: resident memory of the server process, bare grpc-js
// against tenon.
import { fork } from 'node:child_process';
import { connect } from 'node:net';

import { median } from './statistics.mjs';

const kinds = ['bare', 'mapped'];
const rounds = 3;
const bar = 1.2;
const atOnce = 100;

export async function idleBench() {
  const rows = [];
  for (const connections of [1_000, 10_000]) {
    const bytes = { bare: [], mapped: [] };
    for (let round = 0; round < rounds; round += 1)
      for (const kind of round % 2 === 0 ? kinds : kinds.toReversed())
        bytes[kind].push(await bytesEach(kind, connections));
    const [bare, tenon] = kinds.map((kind) => median(bytes[kind]));
    rows.push({
      connections,
      'bare KiB each': (bare / 1_024).toFixed(1),
      'tenon KiB each': (tenon / 1_024).toFixed(1),
      'tenon / bare': (tenon / bare).toFixed(2),
      [`bar ${bar}`]: tenon / bare <= bar ? 'holds' : 'FAILS',
    });
  }
  return rows;
}

async function bytesEach(kind, connections) {
  const server = fork(new URL('./programs/server.mjs', import.meta.url), [kind], { execArgv: ['--expose-gc'] });
  const sockets = [];
  try {
    const { address } = await message(server);
    const open = async (count) => {
      for (let n = 0; n < count; n += atOnce)
        sockets.push(
          ...(await Promise.all(Array.from({ length: Math.min(atOnce, count - n) }, () => oneCall(address)))),
        );
    };
    // What the first connections make once, code above all, is nobody's.
    await open(500);
    for (const socket of sockets.splice(0)) socket.destroy();
    const before = await memory(server);
    await open(connections);
    return ((await memory(server)) - before) / connections;
  } finally {
    for (const socket of sockets) socket.destroy();
    server.disconnect();
  }
}

async function memory(server) {
  server.send('memory');
  return (await message(server)).rss;
}

function message(child) {
  return new Promise((resolve) => child.once('message', resolve));
}

function frame(type, flags, stream, payload) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const fields = {
  ':method': 'POST',
  ':scheme': 'http',
  ':path': '/bench.Echo/Unary',
  ':authority': 'localhost',
  'content-type': 'application/grpc+proto',
  te: 'trailers',
};
// HPACK's plainest form: literals that are not indexed.
const block = Buffer.concat(
  Object.entries(fields).map(([name, value]) =>
    Buffer.concat([Buffer.of(0, name.length), Buffer.from(name), Buffer.of(value.length), Buffer.from(value)]),
  ),
);
const hello = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame(4, 0, 0, Buffer.alloc(0)),
  frame(4, 1, 0, Buffer.alloc(0)),
  frame(1, 4, 1, block),
  frame(0, 1, 1, Buffer.from('0000000003' + '0a0161', 'hex')),
]);

/** A connection that has made its call: a client of few bytes, so that ten thousand fit into this process. */
function oneCall(address) {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    const socket = connect({ host, port: Number(port) });
    socket.once('error', reject);
    socket.once('connect', () => socket.write(hello));
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
        const [type, flags] = [bytes[3], bytes[4]];
        bytes = bytes.subarray(9 + bytes.readUIntBE(0, 3));
        if (type === 1 && flags & 1) resolve(socket);
      }
    });
  });
}
