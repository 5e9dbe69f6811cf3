import type { Broker } from '../../broker/broker.ts';
import { MemoryBroker } from '../../broker/memory.ts';
import type { Marshaler } from '../../codec/codec.ts';
import { BytesMarshaler } from '../../codec/bytes.ts';
import { JsonMarshaler } from '../../codec/json.ts';
import { silentLogger, type Logger } from '../../logger/logger.ts';
import { anySchema, type MethodDescriptor, type MethodKind } from '../../pipeline/pipeline.ts';
import type { Registry } from '../../registry/registry.ts';
import { MemoryRegistry } from '../../registry/memory.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { systemRuntime } from '../../runtime/system.ts';
import type { Selector } from '../../selector/selector.ts';
import { RoundRobinSelector } from '../../selector/round-robin.ts';
import type { Accept, Listener, Socket, Transport } from '../../transport/transport.ts';
import { MemoryTransport } from '../../transport/memory.ts';

/** The parts that clients, servers and services are constructed from. */
export interface Parts {
  readonly transport: Transport;
  readonly registry: Registry;
  readonly selector: Selector;
  readonly broker: Broker;
  /** The codec for methods that name none. */
  readonly marshaler: Marshaler;
  readonly marshalers: readonly Marshaler[];
  readonly runtime: Runtime;
  readonly logger: Logger;
}

/** Makes parts that work in memory, with some replaced. */
export function memoryParts(replaced: Partial<Parts> = {}): Parts {
  const registry = replaced.registry ?? new MemoryRegistry();
  const marshaler = new JsonMarshaler();
  return {
    transport: new MemoryTransport(),
    registry,
    selector: new RoundRobinSelector(registry),
    broker: new MemoryBroker(),
    marshaler,
    marshalers: [marshaler, new BytesMarshaler()],
    runtime: systemRuntime,
    logger: silentLogger,
    ...replaced,
  };
}

/** Makes a method of the service `suite.Suite` with JSON messages. */
export function method(
  name: string,
  kind: MethodKind = 'unary',
  more: Partial<MethodDescriptor> = {},
): MethodDescriptor {
  return {
    service: 'suite.Suite',
    method: name,
    path: `/suite.Suite/${name}`,
    aliases: [],
    kind,
    input: anySchema,
    output: anySchema,
    idempotent: false,
    defaultContentType: 'application/grpc+json',
    ...more,
  };
}

/** Listens with `accept`, and registers the address as a node of the service `suite`. */
export async function serveRaw(
  parts: Parts,
  routes: readonly MethodDescriptor[],
  accept: Accept,
  id = 'suite-1',
): Promise<Listener> {
  const listener = await parts.transport.listen('127.0.0.1:0', { routes });
  listener.accept(accept);
  await announce(parts, id, listener.addr());
  return listener;
}

/** Registers a node of the service `suite`. */
export async function announce(parts: Parts, id: string, address: string): Promise<void> {
  await parts.registry.register(
    { name: 'suite', version: '1', metadata: {}, endpoints: [], nodes: [{ id, address, metadata: {} }] },
    { ttlMs: 60_000 },
  );
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Encodes a value as JSON. */
export function json(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

/** Decodes JSON. */
export function parsed(bytes: Uint8Array | undefined): unknown {
  return bytes && JSON.parse(decoder.decode(bytes));
}

/** Reads all bodies that the other side sends. */
export async function bodies(socket: Socket): Promise<unknown[]> {
  const result: unknown[] = [];
  for (;;) {
    const message = await socket.recv();
    if (!message) return result;
    if (message.body) result.push(parsed(message.body));
  }
}
