import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { assertCallable, parseAddress } from './sockets/address.ts';
import { addressInUse, usedAfterClose } from './call/failures.ts';
import { MemoryClientSocket } from './memory/client-call.ts';
import { MemoryNetwork, MemoryPort } from './memory/memory-network.ts';
import { unaryInMemory } from './memory/unary-call.ts';
import type {
  DialOptions,
  Listener,
  ListenOptions,
  Message,
  Transport,
  TransportCapabilities,
  TransportClient,
} from './transport.ts';

/** Options of a {@link MemoryTransport}. */
export interface MemoryTransportOptions {
  /** @default the system's own */
  readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
/** Container key of the {@link MemoryTransportOptions}. */
export const MemoryTransportOptions: ServiceIdentifier<MemoryTransportOptions> = token(
  'transport',
  'MemoryTransportOptions',
);

/**
 * Carries calls within the process: no port is opened and nothing is copied. The instance is the network: a caller must
 * hold the instance that listens. Everything else is as over a real connection: limits, deadlines, cancellation,
 * back-pressure and drain.
 */
@injectable()
export class MemoryTransport implements Transport {
  static readonly capabilities: TransportCapabilities = { network: false, grpc: false, security: 'local' };

  readonly #network: MemoryNetwork;
  #lastPort = 0;

  constructor(@inject(MemoryTransportOptions) @optional() options: MemoryTransportOptions = {}) {
    const { clock, timers } = options.runtime ?? systemRuntime;
    this.#network = new MemoryNetwork(clock, timers);
  }

  dial(address: string, options: DialOptions): TransportClient {
    this.#assertCallable(address);
    return new MemoryClientSocket(this.#network, address, options);
  }

  unary(address: string, message: Message, options: DialOptions): Promise<Message> {
    try {
      this.#assertCallable(address);
    } catch (error) {
      return Promise.reject(error);
    }
    return unaryInMemory(this.#network, address, message, options);
  }

  async listen(address: string, options: ListenOptions): Promise<Listener> {
    options.signal?.throwIfAborted();
    const { port } = parseAddress(address);
    const { ports } = this.#network;
    const free = port === 0 ? this.#freeAddress() : address;
    if (ports.has(free)) throw addressInUse(free);
    const listener = new MemoryPort(this.#network, free, options);
    ports.set(free, listener);
    this.#network.onListen(free, listener);
    return listener;
  }

  async close(): Promise<void> {
    this.#network.close();
  }

  isSecure(): boolean {
    return true;
  }

  toString(): string {
    return 'memory';
  }

  #assertCallable(address: string): void {
    if (this.#network.isClosed) throw usedAfterClose();
    if (!this.#network.ports.has(address)) assertCallable(address);
  }

  #freeAddress(): string {
    do this.#lastPort += 1;
    while (this.#network.ports.has(`memory:${this.#lastPort}`));
    return `memory:${this.#lastPort}`;
  }
}
