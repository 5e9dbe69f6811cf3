import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { loadProto } from '../../../src/codec/proto.ts';
import { Metadata } from '../../../src/context/metadata.ts';
import { okStatus, statusOf } from '../../../src/context/status.ts';
import { Code } from '../../../src/errors/errors.ts';
import type { ProtoType } from '../../../src/pipeline/pipeline.ts';
import { AddressList, parseAddresses } from '../../../src/registry/kit/address-list.ts';
import { DrivenRegistry, type DriverSettings } from '../../../src/registry/kit/driven-registry.ts';
import type { DriverCall, DriverTools } from '../../../src/registry/kit/driver.ts';
import { GrpcCallError } from '../../../src/registry/kit/errors.ts';
import { GrpcChannel, type GrpcStream } from '../../../src/registry/kit/grpc-channel.ts';
import { systemRuntime } from '../../../src/runtime/system.ts';
import { failureOf } from '../../../src/testing/failures.ts';
import { RecordingLogger } from '../../../src/testing/recorders.ts';
import { eventually, gate } from '../../support/waiting.ts';
import { ConnectionSecurity, type ConnectionSecurityOptions } from '../../../src/tls/connection.ts';
import { GrpcJsTransport, type GrpcJsTransportOptions } from '../../../src/transport/grpc-js.ts';
import type { Listener, Socket } from '../../../src/transport/transport.ts';
import { authority } from '../../support/certificates.ts';
import { closing } from '../../support/closing.ts';
import { expectNothingUncaught } from '../../support/uncaught.ts';

expectNothingUncaught();

const proto = new URL('./protos/store.proto', import.meta.url);
const file = loadProto(proto);
const routes = file.services.flatMap(({ methods }) => methods);
const entry = file.type('store.Entry') as ProtoType;
const key = file.type('store.Key') as ProtoType<{ key: string }>;
const never = new AbortController().signal;

/** A server of `store.Store`: gives back the key it is asked for, and hangs where the key is `hang`. */
class Store {
  readonly calls: string[] = [];
  /** The times of the calls, in milliseconds. */
  readonly times: number[] = [];
  readonly tokens: unknown[] = [];
  readonly open = new Set<string>();
  refusal: Parameters<typeof statusOf>[0] | undefined;
  #listener: Listener | undefined;
  #transport: GrpcJsTransport | undefined;

  constructor(readonly name: string) {}

  get address(): string {
    return this.#listener!.addr();
  }

  async start(options: GrpcJsTransportOptions = {}, address = '127.0.0.1:0'): Promise<this> {
    this.#transport = new GrpcJsTransport(options);
    this.#listener = await this.#transport.listen(address, { routes });
    this.#listener.accept((socket, { method }) => void this.#serve(socket, method));
    closing.push(() => this.stop());
    return this;
  }

  async stop(): Promise<void> {
    await this.#listener?.close();
    await this.#transport?.close();
  }

  async #serve(socket: Socket, method: string): Promise<void> {
    socket.onAbort(() => {
      this.open.delete(method);
      void socket.close();
    });
    this.calls.push(method);
    this.times.push(performance.now());
    this.open.add(method);
    try {
      for (let message = await socket.recv(); message; message = await socket.recv()) {
        if (message.headers) this.tokens.push(message.headers.get('token'));
        if (!message.body) continue;
        const asked = key.decode(message.body).key;
        if (this.refusal) {
          await socket.send({ headers: new Metadata(), status: statusOf(this.refusal) });
          break;
        }
        if (asked === 'hang') return;
        const replies = method === 'List' ? [1n, 2n, 3n] : [1n];
        for (const revision of replies) {
          await socket.send({ body: entry.encode({ key: asked, value: this.name, revision }) });
        }
        if (method !== 'Watch') break;
      }
      await socket.send({ status: okStatus });
      this.open.delete(method);
      await socket.close();
    } catch {
      // The caller is told by its own end.
    }
  }
}

function started(name = 'a', options?: GrpcJsTransportOptions): Promise<Store> {
  return new Store(name).start(options);
}

/** An address of this machine at which nothing listens. */
async function closedAddress(): Promise<string> {
  const store = await started('gone');
  const { address } = store;
  await store.stop();
  return address;
}

function channelTo(addresses: string, options: ConnectionSecurityOptions = {}) {
  const logger = new RecordingLogger();
  const owner = { name: 'the store registry', variables: 'TENON_REGISTRY_' };
  const security = new ConnectionSecurity(options, owner, { runtime: systemRuntime, logger });
  const tools: DriverTools = { ...systemRuntime, logger, security };
  const names = { registry: 'store', serverName: 'the store' };
  // No address is tried before its back-off, so that what is tried first depends on what failed alone.
  const list = new AddressList(parseAddresses(addresses, 1), {
    ...tools,
    ...names,
    minBackoffMs: 60_000,
    maxBackoffMs: 60_000,
  });
  const channel = new GrpcChannel({ registry: 'store', proto, addresses: list, tools });
  closing.push(async () => {
    await channel.close();
    security.close();
  });
  const read = (name: string, more: Partial<DriverCall> = {}): Promise<unknown> =>
    channel.unary('store.Store/Read', { key: name }, { signal: never, timeoutMs: 30_000, ...more });
  const watch = (signal = never): Promise<GrpcStream> => channel.stream('store.Store/Watch', undefined, { signal });
  return { channel, list, security, logger, read, watch };
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tenon-channel-'));
  closing.push(() => rmSync(path, { recursive: true }));
  return path;
}

describe('a channel to a gRPC server', () => {
  it('makes unary calls, with values as a .proto loaded by loadProto has them', async () => {
    const { read } = channelTo((await started()).address);
    expect(await read('x')).toEqual({ key: 'x', value: 'a', revision: 1n });
  });

  it('reads a stream of the server to its end', async () => {
    const { channel } = channelTo((await started()).address);
    const revisions: unknown[] = [];
    const replies = await channel.stream('store.Store/List', { key: 'x' }, { signal: never });
    for await (const reply of replies) revisions.push((reply as { revision: bigint }).revision);
    expect(revisions).toEqual([1n, 2n, 3n]);
  });

  it('sends and receives on a stream both ways, and ends it from either side', async () => {
    const store = await started();
    const { watch } = channelTo(store.address);
    const stream = await watch();
    for (const name of ['x', 'y']) {
      await stream.send({ key: name });
      expect(await stream.next()).toEqual({ done: false, value: { key: name, value: 'a', revision: 1n } });
    }
    stream.end();
    expect(await stream.next()).toEqual({ done: true, value: undefined });

    const left = await watch();
    await left.send({ key: 'x' });
    await left.next();
    const pending = left.next();
    await left.return();
    expect((await pending).done).toBe(true);
    expect((await left.next()).done).toBe(true);
    await eventually('the server hears of it', () => store.open.size === 0);
    expect(store.calls).toEqual(['Watch', 'Watch']);
  });

  it('sends the metadata of each call, made anew for each, such as a token that is read from its file', async () => {
    const store = await started();
    const tokenFile = join(folder(), 'token');
    const renew = (text: string): void => {
      writeFileSync(`${tokenFile}.new`, text);
      renameSync(`${tokenFile}.new`, tokenFile);
    };
    renew('first\n');
    const { channel, read, security } = channelTo(store.address, { credentials: { tokenFile } });
    const metadata = async () => ({ token: security.token });
    const call = { signal: never, timeoutMs: 30_000, metadata };
    await channel.unary('store.Store/Read', { key: 'x' }, call);
    renew('second\n');
    await channel.unary('store.Store/Read', { key: 'x' }, call);
    const stream = await channel.stream('store.Store/Watch', { key: 'x' }, call);
    await stream.next();
    await stream.return();
    await channel.unary('store.Store/Read', { key: 'x' }, { signal: never, metadata: { token: 'of this call' } });
    await read('x');
    expect(store.tokens).toEqual(['first', 'second', 'second', 'of this call', undefined]);
  });

  it('ends a call at its deadline, and the next one goes to another address', async () => {
    const [a, b] = [await started('a'), await started('b')];
    const { read } = channelTo(`${a.address},${b.address}`);
    await read('x');
    expect(await failureOf(read('hang', { timeoutMs: 50 }))).toMatchObject({
      code: Code.DeadlineExceeded,
      message: expect.stringContaining(`store.Store/Read at ${a.address}: `),
    });
    // It may have been processed, so it was not sent again.
    expect(b.calls).toEqual([]);
    expect(await read('x')).toMatchObject({ value: 'b' });
  });

  it('ends a call and a stream when their signal aborts, and sends nothing where it has', async () => {
    const store = await started();
    const { read, watch } = channelTo(store.address);
    const controller = new AbortController();
    const call = failureOf(read('hang', { signal: controller.signal }));
    const stream = await watch(controller.signal);
    const pending = failureOf(stream.next());
    await eventually('both arrived', () => store.open.size === 2);
    controller.abort(new Error('enough'));
    for (const failure of [await call, await pending]) {
      expect(failure).toBeInstanceOf(GrpcCallError);
      expect(failure).toMatchObject({ code: Code.Cancelled, reason: 'call.cancelled' });
      expect(failure.message).toMatch(`at ${store.address}: `);
      expect((failure.cause as Error).cause).toMatchObject({ message: 'enough' });
    }
    await eventually('the server hears of it', () => store.open.size === 0);
    expect(await failureOf(read('x', { signal: controller.signal }))).toMatchObject({ reason: 'call.cancelled' });
    expect((await failureOf((await watch(controller.signal)).next())).reason).toBe('call.cancelled');
    expect(store.calls).toHaveLength(2);
  });

  it('goes to the next address where nothing listens, and stays there', async () => {
    const gone = await closedAddress();
    const store = await started('b');
    const { read, list } = channelTo(`${gone},${store.address}`);
    expect(await read('x')).toMatchObject({ value: 'b' });
    expect(`127.0.0.1:${list.current.port}`).toBe(store.address);
    expect(await read('y')).toMatchObject({ value: 'b' });
  });

  it('names the last address when none can be reached, and tries each of them once', async () => {
    const [first, second] = [await closedAddress(), await closedAddress()];
    const failure = await failureOf(channelTo(`${first},${second}`).read('x'));
    expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
    expect(failure.message).toMatch(`store.Store/Read at ${second}: `);
  });

  it('goes on with another server when one dies between calls', async () => {
    const [a, b] = [await started('a'), await started('b')];
    const { read } = channelTo(`${a.address},${b.address}`);
    expect(await read('x')).toMatchObject({ value: 'a' });
    await a.stop();
    // The connection may be found dead under the call, of which nobody knows then if it was processed.
    await eventually('another server answers', async () => {
      try {
        return ((await read('x')) as { value: string }).value === 'b';
      } catch (error) {
        expect(error).toMatchObject({ reason: 'transport.connection_lost' });
        return false;
      }
    });
  });

  it('does not send a call again that may have been processed', async () => {
    const [a, b] = [await started('a'), await started('b')];
    const { read } = channelTo(`${a.address},${b.address}`);
    const failure = failureOf(read('hang'));
    await eventually('it arrived', () => a.calls.length === 1);
    await a.stop();
    expect((await failure).reason).not.toBe('transport.unreachable');
    expect(b.calls).toEqual([]);
  });

  it('opens a stream at the next address after the first could not be reached, when the driver opens it again', async () => {
    const store = await started('b');
    const { watch } = channelTo(`${await closedAddress()},${store.address}`);
    const failed = await watch();
    expect(await failureOf(failed.next())).toMatchObject({ reason: 'transport.unreachable' });
    expect((await failed.next()).done).toBe(true);
    const stream = await watch();
    await stream.send({ key: 'x' });
    expect(await stream.next()).toMatchObject({ value: { value: 'b' } });
  });

  it('passes on the status of a server that refuses, and asks no other', async () => {
    const [a, b] = [await started('a'), await started('b')];
    const { read, watch, list } = channelTo(`${a.address},${b.address}`);
    // Even one that looks as if nobody had taken the call.
    const said = { code: Code.Unavailable, reason: 'transport.unreachable', message: 'no leader', details: [] };
    a.refusal = { ...said, metadata: { 'etcd-leader': 'none' } };
    const failure = await failureOf(read('x'));
    expect(failure).toMatchObject({ ...said, message: `store.Store/Read at ${a.address}: no leader` });
    expect(failure.metadata).toEqual({ 'etcd-leader': 'none' });
    const stream = await watch();
    await stream.send({ key: 'x' });
    const ended = await failureOf(stream.next());
    expect(ended.message).toBe(`store.Store/Watch at ${a.address}: no leader`);
    expect(b.calls).toEqual([]);
    expect(`127.0.0.1:${list.current.port}`).toBe(a.address);
  });

  it('makes a repeatable call again at another address that does not answer, or cannot serve it', async () => {
    const [a, b] = [await started('a'), await started('b')];
    const { channel, list } = channelTo(`${a.address},${b.address}`);
    const read = (name: string) =>
      channel.unary('store.Store/Read', { key: name }, { signal: never, timeoutMs: 30_000, isRepeatable: true });
    a.refusal = { code: Code.Unavailable, message: 'no leader', reason: undefined, details: [], metadata: {} };
    expect(await read('x')).toMatchObject({ value: 'b' });
    expect(`127.0.0.1:${list.current.port}`).toBe(b.address);
    a.refusal = { code: Code.InvalidArgument, message: 'no', reason: undefined, details: [], metadata: {} };
    b.refusal = a.refusal;
    expect(await failureOf(read('x'))).toMatchObject({ code: Code.InvalidArgument });
    expect(a.calls).toHaveLength(1);
  });

  it('makes a repeatable call again over a new connection where the first is silent', async () => {
    const store = await started();
    const { channel } = channelTo(store.address);
    const call = { signal: never, timeoutMs: 400, attemptMs: 50, isRepeatable: true };
    expect(await failureOf(channel.unary('store.Store/Read', { key: 'hang' }, call))).toMatchObject({
      code: Code.DeadlineExceeded,
    });
    expect(store.calls.length).toBeGreaterThan(2);
    await eventually('the silent ones are closed', () => store.open.size === 0);
    expect(await channel.unary('store.Store/Read', { key: 'x' }, call)).toMatchObject({ value: 'a' });
  });

  it.each([Code.DeadlineExceeded, Code.Unavailable])(
    'waits longer and longer between attempts, if the server answers at once: code %d',
    async (code) => {
      const [a, b] = [await started('a'), await started('b')];
      const { channel } = channelTo(`${a.address},${b.address}`);
      for (const store of [a, b])
        store.refusal = { code, message: 'too late', reason: undefined, details: [], metadata: {} };
      const call = { signal: never, timeoutMs: 500, isRepeatable: true };
      expect(await failureOf(channel.unary('store.Store/Read', { key: 'x' }, call))).toMatchObject({ code });
      // Each of them at once, and then after 50, 100, 200 ms, a fifth more or less.
      const calls = a.calls.length + b.calls.length;
      expect(calls).toBeGreaterThanOrEqual(2);
      expect(calls).toBeLessThanOrEqual(6);
    },
  );

  it('ends the wait for another attempt with its signal', async () => {
    const store = await started();
    const { channel } = channelTo(store.address);
    store.refusal = { code: Code.DeadlineExceeded, message: 'too late', reason: undefined, details: [], metadata: {} };
    const controller = new AbortController();
    const call = { signal: controller.signal, timeoutMs: 600_000, isRepeatable: true };
    const startMs = performance.now();
    const made = failureOf(channel.unary('store.Store/Read', { key: 'x' }, call));
    await eventually('it waits', () => store.calls.length === 4);
    // Waits of 50, 100 and 200 ms, of which a fifth may be left out.
    expect((store.times[3] ?? 0) - startMs).toBeGreaterThan(270);
    controller.abort(new Error('enough'));
    expect(await made).toMatchObject({ code: Code.Cancelled });
    expect(store.calls.length).toBeLessThanOrEqual(5);
  });

  it('opens the next stream elsewhere after one was given up', async () => {
    const [a, b] = [await started('a'), await started('b')];
    const { watch } = channelTo(`${a.address},${b.address}`);
    const stream = await watch();
    await stream.send({ key: 'x' });
    expect(await stream.next()).toMatchObject({ value: { value: 'a' } });
    const pending = failureOf(stream.next());
    stream.giveUp();
    expect(await pending).toMatchObject({ code: Code.Unavailable });
    const next = await watch();
    await next.send({ key: 'x' });
    expect(await next.next()).toMatchObject({ value: { value: 'b' } });
  });

  it('keeps a connection on which others are heard when a stream is given up', async () => {
    const store = await started();
    const { channel, watch } = channelTo(store.address);
    const [silent, other] = [await watch(), await watch()];
    await silent.send({ key: 'x' });
    await silent.next();
    await other.send({ key: 'y' });
    await other.next();
    silent.giveUp();
    await other.send({ key: 'z' });
    expect(await other.next()).toMatchObject({ value: { key: 'z' } });
    await channel.unary('store.Store/Read', { key: 'x' }, { signal: never, timeoutMs: 30_000 });
    await other.send({ key: 'z' });
    expect(await other.next()).toMatchObject({ value: { key: 'z' } });
    const pending = failureOf(other.next());
    // Nothing was heard since its own last reply.
    other.giveUp();
    expect(await pending).toMatchObject({ code: Code.Unavailable });
  });

  it('refuses a method that the .proto does not have, or has of the other kind', async () => {
    const { channel } = channelTo('127.0.0.1:1');
    const call = { signal: never };
    for (const result of [
      channel.unary('store.Store/Write', {}, call),
      channel.unary('store.Store/Watch', {}, call),
      channel.stream('store.Store/Read', {}, call),
    ]) {
      expect(await failureOf(result)).toMatchObject({ code: Code.InvalidArgument, reason: 'registry.unknown_method' });
    }
    expect(await failureOf(channel.unary('store.Store/Read', { key: 1 }, call))).toMatchObject({
      reason: 'codec.encode',
    });
  });
});

describe('TLS of a channel', () => {
  const ours = authority('Ours');
  const strangers = authority('Strangers');
  const issued = ours.issue({ name: 'store', names: ['127.0.0.1', 'store.internal'] });
  const serverTls = { cert: issued.cert, key: issued.key };

  it('trusts the authorities that it is told of, for calls and streams', async () => {
    const store = await started('a', { serverTls });
    const { read, watch } = channelTo(store.address, { tls: { ca: ours.cert } });
    expect(await read('x')).toMatchObject({ value: 'a' });
    const stream = await watch();
    await stream.send({ key: 'x' });
    expect(await stream.next()).toMatchObject({ done: false });
  });

  it('sends nothing to a server that another authority signed for, and says which option to set', async () => {
    const store = await started('a', { serverTls });
    const failure = await failureOf(channelTo(store.address, { tls: { ca: strangers.cert } }).read('x'));
    expect(failure.reason).toBe('transport.unreachable');
    expect(failure.message).toMatch(/^store\.Store\/Read at 127\.0\.0\.1:\d+: .*TENON_REGISTRY_TLS_CA_FILE/);
    expect(store.calls).toEqual([]);
  });

  it('checks the name that it is told, and any certificate is taken where that was asked for', async () => {
    const { address } = await started('a', { serverTls });
    const { cert: ca } = ours;
    expect(await channelTo(address, { tls: { ca, serverName: 'store.internal' } }).read('x')).toBeDefined();
    const wrong = await failureOf(channelTo(address, { tls: { ca, serverName: 'other.internal' } }).read('x'));
    expect(wrong.message).toMatch('TENON_REGISTRY_TLS_SERVER_NAME');
    const careless = channelTo(address, { tls: { insecureSkipVerify: true } });
    expect(await careless.read('x')).toBeDefined();
    expect(careless.logger.texts).toEqual([expect.stringMatching(/^warn TLS of the store registry: any server/)]);
  });

  it('shows its own certificate to a server that asks for one', async () => {
    const { address } = await started('a', { serverTls: { ...serverTls, ca: ours.cert } });
    const { cert, key: own } = ours.issue({ name: 'client' });
    expect(await channelTo(address, { tls: { ca: ours.cert, cert, key: own } }).read('x')).toBeDefined();
    expect((await failureOf(channelTo(address, { tls: { ca: ours.cert } }).read('x'))).code).toBe(Code.Unavailable);
  });

  it('names a file that cannot be used, and reads it again for the next connection', async () => {
    const { address } = await started('a', { serverTls });
    const caFile = join(folder(), 'ca.crt');
    const { read } = channelTo(address, { tls: { caFile } });
    const failure = await failureOf(read('x'));
    expect(failure).toMatchObject({ code: Code.FailedPrecondition, reason: 'tls.invalid' });
    expect(failure.message).toMatch(caFile);
    // A matter of this process: no driver has to translate it.
    expect(failure).not.toBeInstanceOf(GrpcCallError);
    writeFileSync(caFile, ours.cert);
    await eventually('the file is read', () =>
      read('x').then(
        () => true,
        () => false,
      ),
    );
  });
});

describe('close of a channel', () => {
  it('ends what is open, and nothing begins or stays behind', async () => {
    const store = await started();
    const { channel, read, watch } = channelTo(store.address);
    const stream = await watch();
    const failures = [failureOf(stream.next()), failureOf(read('hang'))];
    await eventually('both arrived', () => store.open.size === 2);
    await channel.close();
    for (const failure of await Promise.all(failures)) {
      expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.closed' });
      expect(failure.message).toMatch(`at ${store.address}: `);
    }
    await eventually('the server hears of it', () => store.open.size === 0);
    expect(await failureOf(read('x'))).toMatchObject({ code: Code.FailedPrecondition, reason: 'transport.closed' });
    expect(await failureOf(watch())).toMatchObject({ code: Code.FailedPrecondition, reason: 'transport.closed' });
    await channel.close();
  });

  it('leaves no call open that waits for its metadata', async () => {
    const store = await started();
    const { channel } = channelTo(store.address);
    const token = gate();
    const metadata = async () => {
      await token.opened;
      return {};
    };
    const call = failureOf(channel.unary('store.Store/Read', { key: 'x' }, { signal: never, metadata }));
    await channel.close();
    token.open();
    expect(await call).toMatchObject({ reason: 'transport.closed' });
    expect(store.calls).toEqual([]);
  });
});

describe('a registry whose driver calls through a channel', () => {
  it('has the failures of the server translated by its driver', async () => {
    const store = await started();
    class StoreRegistry extends DrivenRegistry<DriverSettings> {
      constructor(addresses: string) {
        const { channel } = channelTo(addresses);
        const open = () => ({
          server: `the store at ${addresses}`,
          read: async (_: string | undefined, call: DriverCall) => {
            await channel.unary('store.Store/Read', { key: 'x' }, call);
            return { nodes: [] };
          },
          failure: (error: unknown) => {
            const { code } = error as GrpcCallError;
            return { kind: code === Code.Unavailable ? ('unreachable' as const) : ('denied' as const) };
          },
        });
        super(
          {
            name: 'store',
            capabilities: { expires: false, shared: true, watches: false },
            optionsName: 'StoreRegistryOptions',
            open,
          },
          {},
        );
      }
    }
    const registry = new StoreRegistry(store.address);
    expect(await failureOf(registry.getService('x'))).toMatchObject({ reason: 'registry.not_found' });
    store.refusal = {
      code: Code.Unauthenticated,
      message: 'invalid token',
      reason: undefined,
      details: [],
      metadata: {},
    };
    expect(await failureOf(registry.getService('x'))).toMatchObject({
      code: Code.PermissionDenied,
      reason: 'registry.refused',
    });
    const gone = new StoreRegistry(await closedAddress());
    expect(await failureOf(gone.getService('x'))).toMatchObject({
      code: Code.Unavailable,
      reason: 'registry.unreachable',
    });
  });
});
