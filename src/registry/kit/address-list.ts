import { backoffMs } from '../../internal/backoff.ts';
import { hostPort, parseHostPorts } from '../../internal/host-port.ts';
import { maskAddress } from '../../internal/mask.ts';
import type { Clock, Random, Timers } from '../../runtime/runtime.ts';
import type { RegistryOptions } from '../registry.ts';
import { boundedCall } from './bounded-call.ts';
import { ChannelCallError, invalidAddress, invalidOption } from './errors.ts';

/** The host and port of a server. */
export interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

/** Options of an {@link AddressList}. */
export interface AddressListOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  /** The registry's name, for messages: `consul`. */
  readonly registry: string;
  /** The product's name, for messages: `Consul`. */
  readonly serverName: string;
  /** Back-off after an address failed, in milliseconds; it doubles with each failure. @default 100 */
  readonly minBackoffMs?: number | undefined;
  /** Longest back-off of an address, in milliseconds. @default 10_000 */
  readonly maxBackoffMs?: number | undefined;
  /** True if each process begins with another address, so that the servers share the processes. @default false */
  readonly beginsAnywhere?: boolean | undefined;
}

/** The bounds of one {@link AddressList.run}. */
export interface FailoverCall {
  /** The method of the registry, for messages: `getService`. */
  readonly method: string;
  readonly signal: AbortSignal;
  /** Time for all attempts together. Each gets its share; without an answer within that the next address is tried. */
  readonly timeoutMs: number;
  /** True if another address may succeed: the error is about this one. */
  isFaultOfAddress(error: unknown): boolean;
}

interface AddressState {
  readonly address: ServerAddress;
  failures: number;
  backoffUntilMs: number;
}

/**
 * Chooses among several addresses of one server. It stays with an address that works, and goes to the next when that
 * fails. A failed address is not tried again before a back-off that grows; while all are in back-off, the one whose
 * back-off ends first is tried.
 */
export class AddressList {
  readonly #states: readonly AddressState[];
  readonly #options: AddressListOptions;
  #at = 0;

  constructor(addresses: readonly ServerAddress[], options: AddressListOptions) {
    this.#states = addresses.map((address) => ({ address, failures: 0, backoffUntilMs: Number.NEGATIVE_INFINITY }));
    this.#options = options;
    if (options.beginsAnywhere === true) this.#at = Math.floor(options.random.next() * addresses.length);
  }

  /** The address to use now. */
  get current(): ServerAddress {
    return this.inOrder[0] as ServerAddress;
  }

  /** All addresses, in the order in which one call tries them. */
  get inOrder(): readonly ServerAddress[] {
    return this.#order().map(({ address }) => address);
  }

  /** Notes that the address works: it is used from now on. */
  succeeded(address: ServerAddress): void {
    const state = this.#stateOf(address);
    if (!state) return;
    state.failures = 0;
    state.backoffUntilMs = Number.NEGATIVE_INFINITY;
    this.#at = this.#states.indexOf(state);
  }

  /** Notes that the address failed: others are tried before it. */
  failed(address: ServerAddress): void {
    const state = this.#stateOf(address);
    if (!state) return;
    const { clock, random, minBackoffMs: initialMs = 100, maxBackoffMs: maxMs = 10_000 } = this.#options;
    state.failures += 1;
    state.backoffUntilMs = clock.monotonicMs() + backoffMs(state.failures, () => random.next(), { initialMs, maxMs });
  }

  /**
   * Runs `work` with the current address, then with each of the others until one works. Rejects with the last failure.
   */
  async run<T>(call: FailoverCall, work: (address: ServerAddress, signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, timers, registry, serverName } = this.#options;
    const endsAtMs = clock.monotonicMs() + call.timeoutMs;
    const goesOn = (error: unknown): boolean =>
      !call.signal.aborted && (isTimeout(error) || call.isFaultOfAddress(error));
    return this.inTurn(async (address, left) => {
      const timeoutMs = Math.max(0, endsAtMs - clock.monotonicMs()) / left;
      const server = `${serverName} at ${formatAddress(address)}`;
      const bounds = { registry, method: call.method, server, timers, timeoutMs, signal: call.signal };
      try {
        const result = await boundedCall(bounds, (signal) => work(address, signal));
        this.succeeded(address);
        return result;
      } catch (error) {
        if (goesOn(error)) this.failed(address);
        throw error;
      }
    }, goesOn);
  }

  /**
   * Calls `attempt` with one address after the other, until it succeeds, or fails with an error after which none of the
   * others is asked. `left` counts the addresses that are left, this one included. Rejects with the last error. It is
   * for `attempt` to note what worked and what failed.
   */
  async inTurn<T>(
    attempt: (address: ServerAddress, left: number) => Promise<T>,
    goesOn: (error: unknown) => boolean,
  ): Promise<T> {
    const addresses = this.inOrder;
    for (const [index, address] of addresses.entries()) {
      const left = addresses.length - index;
      try {
        return await attempt(address, left);
      } catch (error) {
        if (left === 1 || !goesOn(error)) throw error;
      }
    }
    throw invalidAddress(`the ${this.#options.registry} registry has no address`);
  }

  /** The addresses in the order in which they are tried. */
  #order(): readonly AddressState[] {
    const now = this.#options.clock.monotonicMs();
    const fromCurrent = [...this.#states.slice(this.#at), ...this.#states.slice(0, this.#at)];
    const isReady = ({ backoffUntilMs }: AddressState): boolean => backoffUntilMs <= now;
    const inBackoff = fromCurrent.filter((state) => !isReady(state));
    return [...fromCurrent.filter(isReady), ...inBackoff.sort((a, b) => a.backoffUntilMs - b.backoffUntilMs)];
  }

  #stateOf({ host, port }: ServerAddress): AddressState | undefined {
    return this.#states.find(({ address }) => address.host === host && address.port === port);
  }
}

/**
 * Parses `host:port`, several separated by commas; an IPv6 address stands in brackets. INVALID_ARGUMENT
 * (`registry.invalid_address`) for anything else, with secrets masked in the message.
 */
export function parseAddresses(text: string, defaultPort: number): readonly ServerAddress[] {
  const found = parseHostPorts(text, defaultPort);
  if (found) return found;
  throw invalidAddress(`"${maskAddress(text)}" is no list of addresses: write host:port, several by commas`);
}

/**
 * Throws INVALID_ARGUMENT (`registry.invalid_option`) for a password without the name of its user. `remedy` names the
 * variables.
 */
export function assertUsername({ credentials = {} }: RegistryOptions, optionsName: string, remedy: string): void {
  const { username = '', password, passwordFile } = credentials;
  const hasPassword = password !== undefined || passwordFile !== undefined;
  if (hasPassword && username === '') throw invalidOption(`${optionsName}.credentials.username is missing: ${remedy}`);
}

/** Formats an address as `host:port`, with an IPv6 address in brackets. */
export function formatAddress({ host, port }: ServerAddress): string {
  return hostPort(host, port);
}

/** True for the error of a call whose time has passed: its server has not answered. */
export function isTimeout(error: unknown): boolean {
  return (error as { readonly reason?: unknown } | undefined)?.reason === 'registry.timeout';
}

/** True for the error of a channel that did not reach its server, lost it, or had no answer in time. */
export function isFaultOfAddress(error: unknown): boolean {
  const isBroken = (reason = ''): boolean => ['transport.unreachable', 'transport.connection_lost'].includes(reason);
  return isTimeout(error) || (error instanceof ChannelCallError && isBroken(error.reason));
}

/** The parts of the address of an HTTP server. */
export interface HttpServerAddress {
  readonly isSecure: boolean;
  /** One at least. */
  readonly addresses: readonly ServerAddress[];
  /** Begins every path, without a slash at its end. */
  readonly basePath: string;
}

/**
 * Parses `https://a:1,b:2/base`; without a scheme it is HTTPS. Throws INVALID_ARGUMENT (`registry.invalid_address`).
 */
export function parseHttpServer(server: string): HttpServerAddress {
  const [, scheme = 'https', hosts = '', path = ''] = /^(?:(https?):\/\/)?([^/]*)(\/[^?#]*)?$/i.exec(server) ?? [];
  if (hosts === '') throw invalidAddress(`"${maskAddress(server)}" is no address of a server: write host:port`);
  const isSecure = scheme.toLowerCase() === 'https';
  return { isSecure, addresses: parseAddresses(hosts, isSecure ? 443 : 80), basePath: path.replace(/\/+$/, '') };
}
