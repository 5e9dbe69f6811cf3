import { TenonError, textOf } from '../errors/errors.ts';
import { hostPort } from '../internal/host-port.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Timers } from '../runtime/runtime.ts';
import { type KafkaAddress, type KafkaConnection, KafkaFault, type KafkaLibrary, type KafkaTarget } from './kafka.ts';

/** A server that did not answer in time. */
export class KafkaTimeoutError extends Error {
  override readonly name = 'KafkaTimeoutError';
}

/** A server that the cluster names, and that cannot be connected to. */
export class AdvertisedAddressError extends Error {
  override readonly name = 'AdvertisedAddressError';
}

/** The parts of a {@link KafkaCluster}. */
export interface ClusterInit {
  readonly library: KafkaLibrary;
  /** The servers that are asked first. */
  readonly addresses: readonly KafkaAddress[];
  readonly timers: Timers;
  readonly timeoutMs: number;
  /** Makes what a connection needs: read for each, as certificates and passwords may change. */
  readonly target: (address: KafkaAddress) => KafkaTarget;
}

/** Where a call goes, and how long it may take. */
export interface CallOptions {
  /** @default any server */
  readonly at?: KafkaAddress | undefined;
  /** Time that the server may wait before it answers, beside the time-out. @default 0 */
  readonly waitMs?: number | undefined;
}

/**
 * Connections to the servers of one cluster, one to each, made when they are needed. A connection that fails, or does
 * not answer in time, is closed; the next call makes another. Kafka answers the calls of a connection one after
 * another, so a call that waits has to have a cluster of its own.
 */
export class KafkaCluster {
  readonly #init: ClusterInit;
  readonly #connections = new Map<string, Promise<KafkaConnection>>();
  readonly #closing = new AbortController();
  /** The servers that are asked first, the one that answers before the others. */
  readonly #inOrder: KafkaAddress[];

  constructor(init: ClusterInit) {
    this.#init = init;
    this.#inOrder = [...init.addresses];
  }

  /** Makes a call at a server. */
  async call<T>(work: (connection: KafkaConnection) => Promise<T>, { at, waitMs = 0 }: CallOptions = {}): Promise<T> {
    const address = at ?? (await this.#reachable());
    let connecting = this.#to(address);
    let connection = await this.#connected(address, connecting);
    if (!connection.isOpen) {
      this.#forget(address, connecting);
      connecting = this.#to(address);
      connection = await this.#connected(address, connecting);
    }
    try {
      return await this.#bounded(() => work(connection), waitMs);
    } catch (error) {
      if (error instanceof KafkaFault) throw error;
      // Whether it was done is not known, and what comes next may be the answer to something else.
      connection.close();
      this.#forget(address, connecting);
      throw error;
    }
  }

  /** The object of the client library for the server that any call goes to. */
  async client(): Promise<unknown> {
    return (await this.#to(await this.#reachable())).client;
  }

  close(): void {
    this.#closing.abort(new Error('the connection is closed'));
    for (const connecting of this.#connections.values()) connecting.then(closed, () => undefined);
    this.#connections.clear();
  }

  /** The first server that can be connected to. Those that cannot are asked last from then on. */
  async #reachable(): Promise<KafkaAddress> {
    let failure: unknown;
    const addresses = [...this.#inOrder];
    for (const address of addresses) {
      try {
        await this.#to(address);
        return address;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  #to(address: KafkaAddress): Promise<KafkaConnection> {
    const known = this.#connections.get(keyOf(address));
    if (known) return known;
    const { library, target } = this.#init;
    const connecting = this.#bounded((signal) => library.connect(target(address), signal));
    this.#connections.set(keyOf(address), connecting);
    connecting.catch(() => this.#forget(address, connecting));
    return connecting;
  }

  /** Explains why a server cannot be connected to whose address nobody has given. */
  async #connected(address: KafkaAddress, connecting: Promise<KafkaConnection>): Promise<KafkaConnection> {
    try {
      return await connecting;
    } catch (error) {
      const isGiven = this.#inOrder.some((one) => keyOf(one) === keyOf(address));
      if (isGiven || error instanceof KafkaFault || TenonError.is(error) || this.#closing.signal.aborted) throw error;
      const server = `${keyOf(address)} as one of its servers (advertised.listeners)`;
      throw new AdvertisedAddressError(`names ${server}, which cannot be reached: ${textOf(error)}`, { cause: error });
    }
  }

  #forget(address: KafkaAddress, connecting: Promise<KafkaConnection>): void {
    const key = keyOf(address);
    if (this.#connections.get(key) === connecting) this.#connections.delete(key);
    const at = this.#inOrder.findIndex((one) => keyOf(one) === key);
    if (at >= 0) this.#inOrder.push(...this.#inOrder.splice(at, 1));
  }

  #bounded<T>(work: (signal: AbortSignal) => Promise<T>, waitMs = 0): Promise<T> {
    const { timers, timeoutMs } = this.#init;
    return bounded(work, {
      timers,
      timeoutMs: timeoutMs + waitMs,
      signal: this.#closing.signal,
      onTimeout: (afterMs) => new KafkaTimeoutError(`no answer within ${afterMs} ms`),
    });
  }
}

function keyOf({ host, port }: KafkaAddress): string {
  return hostPort(host, port);
}

function closed(connection: KafkaConnection): void {
  connection.close();
}
