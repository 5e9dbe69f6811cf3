import type { TenonError } from '../../errors/errors.ts';
import { InFlight } from '../../internal/in-flight.ts';
import { Deadlines } from '../../runtime/deadlines.ts';
import type { Clock, Timers } from '../../runtime/runtime.ts';
import type { Accept, Listener, ListenOptions } from '../transport.ts';
import { listenerClosed, notToBegin, transportClosed, unreachable } from '../call/failures.ts';
import type { MemoryCall } from './memory-call.ts';
import { Routes } from '../call/routes.ts';

/** Holds the addresses, the open calls and the deadlines of one memory transport. */
export class MemoryNetwork {
  readonly deadlines: Deadlines;
  readonly ports = new Map<string, MemoryPort>();
  isClosed = false;
  /** True if each side gets bodies of its own, as over a network. */
  readonly copiesBodies: boolean;
  readonly #waiting = new Map<string, Map<MemoryCall, () => void>>();
  readonly #ready: MemoryCall[] = [];
  readonly #clock: Clock;
  readonly #timers: Timers;
  #newest: MemoryCall | undefined;
  #isDelivering = false;
  #isWatching = false;

  constructor(clock: Clock, timers: Timers, { copiesBodies = false }: { readonly copiesBodies?: boolean } = {}) {
    this.copiesBodies = copiesBodies;
    this.#clock = clock;
    this.#timers = timers;
    this.deadlines = new Deadlines(clock, timers);
  }

  /** Joins `call` to the port at its address. Without one the call fails, or is to wait for it: see `whenPort`. */
  open(call: MemoryCall): void {
    this.add(call);
    const failure = notToBegin(call.path, call.ctx, this.#clock);
    if (failure) {
      call.fail(failure);
      return;
    }
    const port = this.ports.get(call.address);
    if (port) port.admit(call);
    else if (!call.options.waitForReady) call.fail(unreachable(call.address, 'nobody listens there'));
  }

  /** Calls `onPort` when there is a port at the address of a call that was opened without one. */
  whenPort(call: MemoryCall, onPort: () => void): void {
    let calls = this.#waiting.get(call.address);
    if (!calls) this.#waiting.set(call.address, (calls = new Map()));
    calls.set(call, onPort);
  }

  add(call: MemoryCall): void {
    call.previous = this.#newest;
    if (this.#newest) this.#newest.next = call;
    this.#newest = call;
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#timers.soon(() => this.#watch());
  }

  remove(call: MemoryCall): void {
    const { previous, next, port } = call;
    if (previous) previous.next = next;
    if (next) next.previous = previous;
    if (this.#newest === call) this.#newest = previous;
    call.previous = undefined;
    call.next = undefined;
    if (port) port.release();
    else this.#waiting.get(call.address)?.delete(call);
  }

  /** Hands calls over in the next microtask: a handler never runs inside its caller's stack. */
  deliver(call: MemoryCall): void {
    this.#ready.push(call);
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    queueMicrotask(this.#handOver);
  }

  /** Gives the calls that wait for `address` to its new port. */
  onListen(address: string, port: MemoryPort): void {
    const calls = this.#waiting.get(address);
    if (!calls) return;
    this.#waiting.delete(address);
    for (const [call, onPort] of calls) {
      port.admit(call);
      onPort();
    }
  }

  /** Returns all open calls, or those of one port. */
  calls(port?: MemoryPort): MemoryCall[] {
    const calls: MemoryCall[] = [];
    for (let call = this.#newest; call; call = call.previous) if (!port || call.port === port) calls.unshift(call);
    return calls;
  }

  close(): void {
    this.isClosed = true;
    for (const call of this.calls()) {
      const { server } = call;
      const error = transportClosed();
      call.fail(error);
      server?.breakOff(error);
    }
  }

  readonly #handOver = (): void => {
    this.#isDelivering = false;
    const calls = this.#ready.splice(0);
    for (const call of calls) call.port?.handOver(call);
  };

  /** Makes the calls that outlived a turn of the event loop follow deadline and context. Older calls do so already. */
  #watch(): void {
    this.#isWatching = false;
    const fresh: MemoryCall[] = [];
    for (let call = this.#newest; call && !call.isWatched; call = call.previous) fresh.push(call);
    for (const call of fresh) if (!call.isOver) call.watch();
  }
}

/** An address of a memory transport that takes calls. */
export class MemoryPort implements Listener {
  readonly options: ListenOptions;
  readonly routes: Routes;
  readonly #network: MemoryNetwork;
  readonly #address: string;
  readonly #early: MemoryCall[] = [];
  #accept: Accept | undefined;
  readonly #inFlight = new InFlight();

  constructor(network: MemoryNetwork, address: string, options: ListenOptions) {
    this.#network = network;
    this.#address = address;
    this.options = options;
    this.routes = new Routes(options);
  }

  addr(): string {
    return this.#address;
  }

  accept(accept: Accept): void {
    this.#accept = accept;
    for (const call of this.#early.splice(0)) this.#network.deliver(call);
  }

  async drain(signal?: AbortSignal): Promise<void> {
    this.#leave();
    await this.#inFlight.idle(signal);
  }

  async close(): Promise<void> {
    this.#leave();
    for (const call of this.#network.calls(this)) call.refuse(listenerClosed(this.#address));
  }

  admit(call: MemoryCall): void {
    call.port = this;
    this.#inFlight.enter();
  }

  release(): void {
    this.#inFlight.leave();
  }

  deliver(call: MemoryCall): void {
    if (this.#accept) this.#network.deliver(call);
    else this.#early.push(call);
  }

  handOver(call: MemoryCall): void {
    const { server } = call;
    if (server && !call.isOver) this.#accept?.(server, server.route);
  }

  unknown(path: string): TenonError {
    return this.routes.unknown(path);
  }

  #leave(): void {
    if (this.#network.ports.get(this.#address) === this) this.#network.ports.delete(this.#address);
  }
}
