import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import { didYouMean } from '../internal/suggest.ts';
import { token } from '../internal/token.ts';
import type { MethodDescriptor } from '../pipeline/pipeline.ts';
import { Deadlines } from '../runtime/deadlines.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { MemoryCall } from './internal/memory-call.ts';
import { MemoryUnary } from './internal/memory-unary.ts';
import {
  type Accept,
  defaultMaxMessageBytes,
  type DialOptions,
  type Listener,
  type ListenOptions,
  type Message,
  type Socket,
  type Transport,
  type TransportCapabilities,
  type TransportClient,
} from './transport.ts';

/** How a {@link MemoryTransport} works. */
export interface MemoryTransportOptions {
  readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
/** Container key of the {@link MemoryTransportOptions}. */
export const MemoryTransportOptions: ServiceIdentifier<MemoryTransportOptions> = token('transport', 'MemoryTransportOptions');

/** What the sockets of a call need of the transport they run on. */
export interface MemoryPlace {
  readonly deadlines: Deadlines;
  readonly now: () => number;
}

/**
 * Calls inside one process: no port, no frames. The instance is the network: what listens on it can be dialled on it, and nothing
 * else. Headers and bodies are handed over as they are.
 */
@injectable()
export class MemoryTransport implements Transport {
  static readonly capabilities: TransportCapabilities = { network: false, grpc: false };

  readonly #listeners = new Map<string, MemoryListener>();
  readonly #place: MemoryPlace;
  readonly #calls = new Set<{ breakOff(error: TenonError): void }>();
  #nextPort = 1;

  constructor(@inject(MemoryTransportOptions) @optional() options: MemoryTransportOptions = {}) {
    const { clock, timers } = options.runtime ?? systemRuntime;
    this.#place = { deadlines: new Deadlines(clock, timers), now: () => clock.now() };
  }

  dial(address: string, options: DialOptions): TransportClient {
    assertAddress(address);
    const call = new MemoryCall(this.#place, address, options);
    this.#calls.add(call);
    call.onOver = () => this.#calls.delete(call);
    const listener = this.#listeners.get(address);
    const refusal = listener?.refusal(options) ?? (listener ? undefined : unreachable(address));
    if (refusal instanceof TenonError) call.breakOff(refusal);
    else if (refusal) call.answer(refusal);
    else listener?.take(call, options);
    return call.client;
  }

  unary(address: string, message: Message, options: DialOptions): Promise<Message> {
    const listener = this.#listeners.get(address);
    if (!listener) return Promise.reject(unreachable(address));
    const refusal = listener.refusal(options);
    if (refusal) return refusal instanceof TenonError ? Promise.reject(refusal) : Promise.resolve(refusal);
    return new Promise((resolve, reject) => {
      const call = new MemoryUnary(this.#place, listener.addr(), listener.limits, message, options, resolve, reject);
      if (call.isOver) return;
      this.#calls.add(call);
      call.onOver = () => {
        this.#calls.delete(call);
        listener.release(call);
      };
      listener.takeUnary(call, options);
    });
  }

  async listen(address: string, options: ListenOptions): Promise<Listener> {
    assertAddress(address);
    options.signal?.throwIfAborted();
    const chosen = address.endsWith(':0') ? `memory:${this.#nextPort++}` : address;
    if (this.#listeners.has(chosen)) {
      throw new TenonError({
        code: Code.AlreadyExists,
        reason: 'transport.address_in_use',
        message: `the address ${chosen} is taken by another listener of this process: choose another, or port 0 for any`,
      });
    }
    const listener = new MemoryListener(chosen, options, () => this.#listeners.delete(chosen));
    this.#listeners.set(chosen, listener);
    return listener;
  }

  async close(): Promise<void> {
    for (const call of [...this.#calls]) call.breakOff(connectionLost('the transport was closed'));
    this.#place.deadlines.clear();
  }

  toString(): string {
    return 'memory';
  }
}

/** The largest messages of a side, in bytes. */
export interface MemoryLimits {
  readonly maxReceiveBytes: number;
  readonly maxSendBytes: number;
}

interface ServerCall {
  readonly server: Socket;
  breakOff(error: TenonError): void;
}

class MemoryListener implements Listener {
  readonly limits: MemoryLimits;
  readonly #address: string;
  readonly #options: ListenOptions;
  readonly #onClose: () => void;
  readonly #routes = new Map<string, MethodDescriptor>();
  readonly #calls = new Set<ServerCall>();
  #waiting: { readonly call: ServerCall; readonly route: MethodDescriptor }[] = [];
  #accept: Accept | undefined;
  #isDraining = false;
  #whenIdle: (() => void)[] = [];

  constructor(address: string, options: ListenOptions, onClose: () => void) {
    this.#address = address;
    this.#options = options;
    this.#onClose = onClose;
    this.limits = {
      maxReceiveBytes: options.maxReceiveBytes ?? defaultMaxMessageBytes,
      maxSendBytes: options.maxSendBytes ?? Number.POSITIVE_INFINITY,
    };
    for (const route of options.routes) for (const path of [route.path, ...route.aliases]) this.#routes.set(path, route);
  }

  addr(): string {
    return this.#address;
  }

  accept(accept: Accept): void {
    this.#accept = accept;
    for (const { call, route } of this.#waiting.splice(0)) accept(call.server, route);
  }

  /** Why a call is not taken: an error for one that finds nobody, a status for one to a method that is not there. */
  refusal({ route, path = route.path }: DialOptions): TenonError | Message | undefined {
    if (this.#isDraining) return unreachable(this.#address);
    if (this.#routes.has(path)) return undefined;
    const hint = this.#options.suggest ? didYouMean(path, this.#routes.keys()) : '';
    return { status: { code: Code.Unimplemented, message: `unknown method ${path}.${hint}` } };
  }

  take(call: MemoryCall, options: DialOptions): void {
    call.accepted(this.#address, this.limits, () => this.release(call));
    this.takeUnary(call, options);
  }

  takeUnary(call: ServerCall, { route, path = route.path }: DialOptions): void {
    this.#calls.add(call);
    const served = this.#routes.get(path) as MethodDescriptor;
    if (this.#accept) this.#accept(call.server, served);
    else this.#waiting.push({ call, route: served });
  }

  release(call: ServerCall): void {
    this.#calls.delete(call);
    if (this.#calls.size > 0) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  async drain(signal?: AbortSignal): Promise<void> {
    this.#isDraining = true;
    if (this.#calls.size === 0) return;
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      this.#whenIdle.push(resolve);
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  }

  async close(): Promise<void> {
    this.#isDraining = true;
    this.#onClose();
    for (const call of [...this.#calls]) call.breakOff(connectionLost(`the listener at ${this.#address} was closed`));
  }
}

/** No node listens there, so that the call was certainly not processed. */
function unreachable(address: string): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'transport.unreachable',
    message: `nobody takes calls at ${address}: is the service started, over the same memory transport?`,
  });
}

function connectionLost(message: string): TenonError {
  return new TenonError({ code: Code.Unavailable, reason: 'transport.connection_lost', message });
}

function assertAddress(address: string): void {
  if (/^[^\s/]+:\d{1,5}$/.test(address)) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'transport.invalid_address',
    message: `"${address}" is not an address: write host:port, with port 0 for any free one`,
  });
}
