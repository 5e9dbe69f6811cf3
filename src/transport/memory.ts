import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import { clientStreams } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { assertCallable, parseAddress } from './sockets/address.ts';
import { addressInUse, usedAfterClose, wrongCount } from './call/failures.ts';
import { MemoryCall, view } from './memory/memory-call.ts';
import { MemoryClientSocket, MemoryUnaryCall } from './memory/client-call.ts';
import { MemoryNetwork, MemoryPort } from './memory/memory-network.ts';
import { MemoryServerSocket } from './memory/server-call.ts';
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
    return new Promise((resolve, reject) => {
      this.#assertCallable(address);
      const call = new MemoryCall(
        this.#network,
        address,
        options,
        new MemoryUnaryCall(options.path ?? options.route.path, resolve, reject),
      );
      this.#network.open(call, () => start(call, message));
      if (call.port) start(call, message);
    });
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

/** Gives a call to the server at once, as the whole request is there. */
function start(call: MemoryCall, { headers, body }: Message): void {
  const port = call.port as MemoryPort;
  const route = port.routes.find(call.path);
  if (!route) {
    call.refuse(port.unknown(call.path));
    return;
  }
  if (!body && !clientStreams(route.kind)) {
    call.refuse(wrongCount(call.path, 'no'));
    return;
  }
  if (body && !call.fits(body)) return;
  call.server = new MemoryServerSocket(call, route, { headers: headers && view(headers), body });
  call.server.endRequests();
  port.deliver(call);
}
