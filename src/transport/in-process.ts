import { declaredCapabilities } from '../internal/capabilities.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { MemoryClientSocket } from './memory/client-call.ts';
import { MemoryNetwork, MemoryPort } from './memory/memory-network.ts';
import { unaryInMemory } from './memory/unary-call.ts';
import type {
  Accept,
  DialOptions,
  Listener,
  ListenOptions,
  Transport,
  TransportCapabilities,
  TransportClient,
  TransportEncryption,
  WrappedTransport,
} from './transport.ts';

/** Options of an {@link InProcessTransport}. */
export interface InProcessTransportOptions {
  /** @default the system's own */
  readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}

/**
 * Carries calls to the listeners of this process without a socket, and all others by another transport, which listens
 * for callers elsewhere. A listener is known by the address at which it listens and the one that it advertises, unless
 * another one of this process says the same. Calls are as over a connection: limits, deadlines, cancellation,
 * back-pressure and drain. Each side has messages of its own.
 *
 * Listeners that speak TLS are called over a socket all the same, as their handlers may look at certificates.
 *
 * @example
 * ```ts
 * await run([], {
 *   bind: (container) => wrap(container, Transport, (transport) => new InProcessTransport(transport)),
 * });
 * ```
 */
export class InProcessTransport implements WrappedTransport {
  readonly unary?: NonNullable<Transport['unary']>;
  readonly origin: Transport;
  readonly #network: MemoryNetwork;
  /** Addresses that several listeners of this process have said, as that of a load balancer. */
  readonly #shared = new Set<string>();

  constructor(origin: Transport, options: InProcessTransportOptions = {}) {
    const { clock, timers } = options.runtime ?? systemRuntime;
    this.origin = origin;
    this.#network = new MemoryNetwork(clock, timers, { copiesBodies: true });
    const unary = origin.unary?.bind(origin);
    // Clients make unary calls over sockets, whose transport has no other way.
    if (!unary) return;
    this.unary = (address, message, dial) =>
      this.#isHere(address) ? unaryInMemory(this.#network, address, message, dial) : unary(address, message, dial);
  }

  dial(address: string, options: DialOptions): TransportClient {
    if (this.#isHere(address)) return new MemoryClientSocket(this.#network, address, options);
    return this.origin.dial(address, options);
  }

  async listen(address: string, options: ListenOptions): Promise<Listener> {
    const listener = await this.origin.listen(address, options);
    if (this.#speaksTls || this.#network.isClosed) return listener;
    return new InProcessListener(listener, this.#network, this.#shared, options);
  }

  get encryption(): TransportEncryption | undefined {
    return this.origin.encryption;
  }

  isSecure(address: string): boolean {
    return this.#isHere(address) || this.origin.isSecure?.(address) === true;
  }

  async close(): Promise<void> {
    this.#network.close();
    await this.origin.close();
  }

  toString(): string {
    return String(this.origin);
  }

  #isHere(address: string): boolean {
    return !this.#network.isClosed && this.#network.ports.has(address) && !this.#shared.has(address);
  }

  get #speaksTls(): boolean {
    const { encryption } = this.origin;
    if (encryption) return encryption.server;
    return declaredCapabilities<TransportCapabilities>(this.origin)?.security === 'tls';
  }
}

/** A listener that takes calls of its own process beside those of others. */
class InProcessListener implements Listener {
  readonly #listener: Listener;
  readonly #network: MemoryNetwork;
  readonly #shared: Set<string>;
  readonly #options: ListenOptions;
  readonly #ports: MemoryPort[] = [];
  #accept: Accept | undefined;
  #isLeaving = false;

  constructor(listener: Listener, network: MemoryNetwork, shared: Set<string>, options: ListenOptions) {
    this.#listener = listener;
    this.#network = network;
    this.#shared = shared;
    this.#options = options;
    this.#open(listener.addr());
  }

  addr(): string {
    return this.#listener.addr();
  }

  advertise(address: string): void {
    this.#listener.advertise?.(address);
    this.#open(address);
  }

  accept(accept: Accept): void {
    this.#accept = accept;
    for (const port of this.#ports) port.accept(accept);
    this.#listener.accept(accept);
  }

  async drain(signal?: AbortSignal): Promise<void> {
    this.#isLeaving = true;
    await Promise.all([this.#listener.drain(signal), ...this.#ports.map((port) => port.drain(signal))]);
  }

  async close(): Promise<void> {
    this.#isLeaving = true;
    await Promise.all([this.#listener.close(), ...this.#ports.map((port) => port.close())]);
  }

  #open(address: string): void {
    const { ports } = this.#network;
    if (this.#isLeaving || this.#ports.some((port) => port.addr() === address)) return;
    if (ports.has(address)) {
      this.#shared.add(address);
      return;
    }
    const port = new MemoryPort(this.#network, address, this.#options);
    this.#ports.push(port);
    ports.set(address, port);
    if (this.#accept) port.accept(this.#accept);
  }
}
