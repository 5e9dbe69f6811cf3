// What a view of a registry costs in memory, time, processor time and bytes, and what a registration costs: on real
// servers, which it starts. A proxy between them and the program that is measured counts bytes.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Redis } from 'ioredis';

import { BackendServer } from '../scripts/backends/server.js';
import { changed, load, recordOf } from './programs/registries.mjs';

const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
const services = number('TENON_BENCH_SERVICES', 1_000);
const nodes = 10;
const sizes = [100, 1_000, 10_000].filter((size) => size <= number('TENON_BENCH_NODES', 10_000));
const registrations = number('TENON_BENCH_REGISTRATIONS', 5_000);
const changes = 500;
// Before them, so that the engine has compiled what it runs.
const warmUp = 300;
const ttlMs = 3_600_000;
const registries = ['memory', 'redis', 'etcd', 'zookeeper', 'consul', 'kubernetes', 'file'];
const chosen = process.env['TENON_BENCH_REGISTRIES']?.split(',');

/** @typedef {{ name: string, address: string, options: object, server?: BackendServer }} Target */

export async function registryBench() {
  // The servers do not keep this process alive, not even while it waits for their end.
  const alive = setInterval(() => {}, 1_000);
  try {
    await measureAll();
  } finally {
    clearInterval(alive);
  }
  return undefined;
}

async function measureAll() {
  const names = registries.filter((name) => !chosen || chosen.includes(name));
  const tables = { views: [], changes: [], renewals: [] };
  for (const name of names) {
    await withTarget(name, async (target) => {
      const row = await viewOf(target);
      tables.views.push({ registry: name, ...row });
      console.table([{ registry: name, ...row }]);
    });
    for (const size of sizes) {
      await withTarget(name, async (target) => {
        const row = await changesOf(target, size);
        tables.changes.push({ registry: name, nodes: size, ...row });
        console.table([{ registry: name, nodes: size, ...row }]);
      });
    }
    const isStored = name !== 'file' && name !== 'memory';
    if (isStored)
      await withTarget(name, async (target) => {
        const row = await renewalsOf(target);
        tables.renewals.push({ registry: name, ...row });
        console.table([{ registry: name, ...row }]);
      });
    if (process.env['TENON_BENCH_WRITE']) for (const [what, rows] of Object.entries(tables)) write(what, rows);
  }
  for (const rows of Object.values(tables)) console.table(rows);
}

/** Starts a server of the registry's own, or makes a file. @param {(target: Target) => Promise<void>} work */
async function withTarget(name, work) {
  if (name === 'file') {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-bench-'));
    try {
      await work({ name, address: join(folder, 'services.json'), options: {} });
    } finally {
      rmSync(folder, { recursive: true });
    }
    return;
  }
  if (name === 'memory') return work({ name, address: '', options: {} });
  const server = new BackendServer(
    name,
    name === 'consul' ? { args: ['-hcl', 'limits { http_max_conns_per_client = 4000 }'] } : {},
  );
  await server.start();
  try {
    const { caFile, token } = server.details;
    const options = { ...(caFile && { tls: { caFile } }), ...(token && { credentials: { token } }) };
    await work({ name, address: server.address, options, server });
  } finally {
    await server.dispose();
  }
}

/** Memory and time of a view of all services, and the cost of a change of one of them. */
async function viewOf(target) {
  const writer = await writerOf(target);
  const names = Array.from({ length: services }, (_, at) => `service-${at}`);
  await inTurn(names, (name) => writer.register(recordOf(name, nodes)), target.name === 'consul' ? 2 : 32);
  const proxy = await countingProxy(target);
  const viewer = program('viewer.mjs', [target.name, { ...target.options, address: proxy.address }, services, nodes]);
  const { viewMs, cpuMs, heapBytes } = await viewer.ask('view');
  const { down } = proxy.counts;
  const records = names.map((name) => recordOf(name, nodes));
  const change = (at) => writer.register(changed(records[at % services], Math.floor(at / services), !writer.isWhole));
  await costOf(viewer, proxy, warmUp, change);
  const cost = await costOf(viewer, proxy, changes, change);
  await end(viewer, proxy, writer);
  return {
    services,
    'heap, MB': (heapBytes / 1_048_576).toFixed(1),
    'bytes a node': Math.round(heapBytes / (services * nodes)),
    'complete after, s': (viewMs / 1_000).toFixed(1),
    'CPU, s': (cpuMs / 1_000).toFixed(1),
    'read, MB': target.server ? (down / 1_048_576).toFixed(1) : '–',
    'CPU a change, ms': (cost.cpuUs / 1_000).toFixed(2),
    'bytes a change': cost.bytes,
  };
}

/** The cost of a change of a service with so many nodes. */
async function changesOf(target, size) {
  const writer = await writerOf(target);
  const record = recordOf('service-0', size);
  if (writer.isWhole) await writer.register(record);
  else await inTurn(record.nodes, (node) => writer.register({ ...record, nodes: [node] }), 16);
  const proxy = await countingProxy(target);
  const viewer = program('viewer.mjs', [target.name, { ...target.options, address: proxy.address }, 1, size]);
  await viewer.ask('view');
  const change = (at) => writer.register(changed(record, at, !writer.isWhole));
  await costOf(viewer, proxy, warmUp, change);
  const cost = await costOf(viewer, proxy, changes, change);
  const asked = await costOf(viewer, proxy, changes, change, 'asking');
  await end(viewer, proxy, writer);
  return {
    'CPU a change, ms': (cost.cpuUs / 1_000).toFixed(2),
    'with a call after each, ms': (asked.cpuUs / 1_000).toFixed(2),
    'bytes a change': cost.bytes,
  };
}

/** The cost of many registrations of one process that are renewed. */
async function renewalsOf(target) {
  const proxy = await countingProxy(target);
  const intervalMs = 10_000;
  const address = proxy.address;
  const registrar = program('registrar.mjs', [target.name, { ...target.options, address }, registrations, intervalMs]);
  await registrar.ask('register');
  const requests = await requestsOf(target);
  const before = { ...proxy.counts };
  const { renewals, failed, seconds, cpuUs } = await registrar.ask('renew 2');
  const sent = (await requestsOf(target)) - requests;
  const bytes = proxy.counts.up + proxy.counts.down - before.up - before.down;
  await end(registrar, proxy);
  return {
    registrations,
    'renewals/s': Math.round(renewals / seconds),
    failed,
    'requests/s': Number.isNaN(sent) ? '–' : Math.round(sent / seconds),
    'requests a renewal': Number.isNaN(sent) ? '–' : (sent / renewals).toFixed(2),
    'CPU a renewal, ms': (cpuUs / 1_000 / renewals).toFixed(3),
    'CPU, % of a core': Math.round(cpuUs / 10_000 / seconds),
    'bytes a renewal': Math.round(bytes / renewals),
    connections: proxy.counts.connections,
  };
}

/** The number of requests that a server has had, where it counts them. */
async function requestsOf({ name, server, options }) {
  if (name === 'redis') {
    const redis = new Redis(server.port, '127.0.0.1');
    const info = await redis.info('commandstats');
    redis.disconnect();
    return Number(/cmdstat_eval:calls=(\d+)/.exec(info)?.[1] ?? 0);
  }
  const sum = (text, pattern) => {
    return [...text.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
  };
  if (name === 'etcd') {
    const text = await (await fetch(`http://${server.address}/metrics`)).text();
    return sum(text, /^grpc_server_msg_received_total\{[^}]*\} (\S+)$/gm);
  }
  if (name === 'zookeeper') {
    const text = await fourLetters(server.port, 'srvr');
    return Number(/Received: (\d+)/.exec(text)?.[1] ?? Number.NaN);
  }
  if (name === 'consul') {
    const text = await (await fetch(`http://${server.address}/v1/agent/metrics`)).json();
    return text.Samples.filter(({ Name }) => Name === 'consul.api.http').reduce((total, { Count }) => total + Count, 0);
  }
  void options;
  return Number.NaN;
}

function fourLetters(port, word) {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = createConnection(port, '127.0.0.1', () => socket.write(word));
    socket.on('data', (data) => (text += data));
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
}

/** Registers nodes for the view: with a registry, or in the file. In memory the program that is measured does it. */
async function writerOf({ name, address, options }) {
  if (name === 'memory') return { isWhole: true, register: async () => {}, close: async () => {} };
  if (name !== 'file') {
    const registry = await load(name, { ...options, address });
    return {
      isWhole: false,
      register: (record) => registry.register(record, { ttlMs }),
      close: () => registry.close(),
    };
  }
  const known = new Map();
  let isDue = false;
  const save = () => {
    isDue = false;
    writeFileSync(`${address}.new`, JSON.stringify({ services: [...known.values()] }));
    renameSync(`${address}.new`, address);
  };
  return {
    isWhole: true,
    register: async (record) => {
      known.set(record.name, record);
      if (!isDue) setImmediate(save);
      isDue = true;
      await new Promise((resolve) => setTimeout(resolve, 5));
    },
    close: async () => {},
  };
}

/** The cost of each of so many changes, which are made one after another. */
async function costOf(viewer, proxy, count, change, asking = '') {
  await viewer.ask(`changes ${count} ${asking}`);
  const before = { ...proxy.counts };
  const done = viewer.next();
  for (let at = 0; at < count; at += 1) await change(at);
  const { cpuUs } = await done;
  const bytes = proxy.counts.up + proxy.counts.down - before.up - before.down;
  return { cpuUs, bytes: proxy.isReal ? Math.round(bytes / count) : '–' };
}

/** A program whose lines of JSON are answers. */
function program(file, args) {
  const path = fileURLToPath(new URL(`programs/${file}`, import.meta.url));
  const child = spawn(process.execPath, ['--expose-gc', path, JSON.stringify(args)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${file} has ended`);
    return JSON.parse(value);
  };
  const ended = new Promise((resolve) => child.once('exit', resolve));
  return {
    next,
    ask: (command) => {
      child.stdin.write(`${command}\n`);
      return next();
    },
    close: async () => {
      child.stdin.end('end\n');
      await ended;
    },
  };
}

/** Passes on what comes, and counts it. A file needs none. */
async function countingProxy({ address, server }) {
  const counts = { up: 0, down: 0, connections: 0 };
  if (!server) return { address, counts, isReal: false, close: async () => {} };
  const sockets = new Set();
  const proxy = createServer({ noDelay: true }, (client) => {
    counts.connections += 1;
    const upstream = createConnection({ port: server.port, host: '127.0.0.1', noDelay: true });
    const pairs = [
      [client, upstream, 'up'],
      [upstream, client, 'down'],
    ];
    for (const [from, to, way] of pairs) {
      sockets.add(from);
      from.on('data', (data) => (counts[way] += data.length));
      from.on('error', () => to.destroy());
      from.on('close', () => sockets.delete(from));
      from.pipe(to);
    }
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${proxy.address().port}`,
    counts,
    isReal: true,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}

async function end(...all) {
  for (const one of all) await one.close();
}

async function inTurn(all, work, width) {
  let next = 0;
  const worker = async () => {
    while (next < all.length) await work(all[next++]);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** Writes a table of the page. Rows of registries that were not measured stay. */
function write(what, rows) {
  if (rows.length === 0) return;
  const page = fileURLToPath(new URL('../docs/registry-costs.md', import.meta.url));
  const columns = Object.keys(rows[0]);
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const text = readFileSync(page, 'utf8');
  const [, head, before, tail] = new RegExp(`(<!-- ${what} -->\n)([^]*?)(<!-- end -->)`).exec(text);
  const measured = new Set(rows.map(({ registry }) => registry));
  const kept = before.split('\n').filter((one) => one.startsWith('| ') && !/^\| (?:registry|---)/.test(one));
  const all = [
    ...kept.filter((one) => !measured.has(one.split(' ')[1])),
    ...rows.map((row) => line(columns.map((at) => row[at]))),
  ];
  const rank = (one) => registries.indexOf(one.split(' ')[1]);
  const table = [line(columns), line(columns.map(() => '---')), ...all.sort((a, b) => rank(a) - rank(b))];
  writeFileSync(page, text.replace(`${head}${before}${tail}`, `${head}\n${table.join('\n')}\n\n${tail}`));
}
