import { backoffMs } from '../../internal/backoff.ts';
import { maskAddress } from '../../internal/mask.ts';
import type { Clock, Random, Timers } from '../../runtime/runtime.ts';
import { boundedCall } from './bounded-call.ts';
import { invalidAddress } from './errors.ts';

/** A server: `host:port`. */
export interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

/** Options of an {@link AddressList}. */
export interface AddressListOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  /** The registry's name, and what its servers are called: `Consul`. */
  readonly registry: string;
  readonly server: string;
  /** An address that failed is left alone for this time, doubled with each failure, in milliseconds. @default 100 */
  readonly minBackoffMs?: number | undefined;
  /** And no longer than this, in milliseconds. @default 10_000 */
  readonly maxBackoffMs?: number | undefined;
}

/** The bounds of one {@link AddressList.run}. */
export interface FailoverCall {
  readonly what: string;
  readonly signal: AbortSignal;
  /** All attempts share it: one that gets no answer within its part is given up for the next address. */
  readonly timeoutMs: number;
  /** True if the error is one of this address, so that another may do better. */
  isFaultOfAddress(error: unknown): boolean;
}

interface Place {
  readonly address: ServerAddress;
  failures: number;
  restsUntilMs: number;
}

/**
 * Several addresses of one server. It stays with an address that works. When that fails, the next one is tried, and
 * each that failed rests for a time that grows; when all rest, the one that may come back first is tried all the same.
 */
export class AddressList {
  readonly #places: readonly Place[];
  readonly #options: AddressListOptions;
  #at = 0;

  constructor(addresses: readonly ServerAddress[], options: AddressListOptions) {
    this.#places = addresses.map((address) => ({ address, failures: 0, restsUntilMs: Number.NEGATIVE_INFINITY }));
    this.#options = options;
  }

  /** The address to use now. */
  get current(): ServerAddress {
    return (this.#order()[0] as Place).address;
  }

  /** The address works. */
  succeeded(address: ServerAddress): void {
    const place = this.#placeOf(address);
    if (!place) return;
    place.failures = 0;
    place.restsUntilMs = Number.NEGATIVE_INFINITY;
    this.#at = this.#places.indexOf(place);
  }

  /** The address does not work now. */
  failed(address: ServerAddress): void {
    const place = this.#placeOf(address);
    if (!place) return;
    const { clock, random, minBackoffMs: initialMs = 100, maxBackoffMs: maxMs = 10_000 } = this.#options;
    place.failures += 1;
    place.restsUntilMs = clock.monotonicMs() + backoffMs(place.failures, () => random.next(), { initialMs, maxMs });
  }

  /**
   * Runs `work` with the current address, and with each of the others once while addresses fail. Rejects with the last
   * failure.
   */
  async run<T>(call: FailoverCall, work: (address: ServerAddress, signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, timers, registry, server } = this.#options;
    const endsAtMs = clock.monotonicMs() + call.timeoutMs;
    const places = this.#order();
    for (const [index, { address }] of places.entries()) {
      const isLast = index === places.length - 1;
      const timeoutMs = Math.max(0, endsAtMs - clock.monotonicMs()) / (places.length - index);
      try {
        const where = `${server} at ${formatAddress(address)}`;
        const bounds = { registry, what: call.what, where, timers, timeoutMs, signal: call.signal };
        const result = await boundedCall(bounds, (signal) => work(address, signal));
        this.succeeded(address);
        return result;
      } catch (error) {
        if (call.signal.aborted || !(isTimeout(error) || call.isFaultOfAddress(error))) throw error;
        this.failed(address);
        if (isLast) throw error;
      }
    }
    throw invalidAddress(`the ${registry} registry has no address`);
  }

  /** In the order in which they are tried. */
  #order(): readonly Place[] {
    const now = this.#options.clock.monotonicMs();
    const fromCurrent = [...this.#places.slice(this.#at), ...this.#places.slice(0, this.#at)];
    const isReady = ({ restsUntilMs }: Place): boolean => restsUntilMs <= now;
    const resting = fromCurrent.filter((place) => !isReady(place));
    return [...fromCurrent.filter(isReady), ...resting.sort((a, b) => a.restsUntilMs - b.restsUntilMs)];
  }

  #placeOf({ host, port }: ServerAddress): Place | undefined {
    return this.#places.find(({ address }) => address.host === host && address.port === port);
  }
}

/**
 * Reads `host:port`, several by commas; an address of IPv6 stands in brackets. INVALID_ARGUMENT
 * (`registry.invalid_address`) for anything else, without what may be a secret in it.
 */
export function parseAddresses(text: string, defaultPort: number): readonly ServerAddress[] {
  return text.split(',').map((one) => {
    const [, v6, host = v6, port = String(defaultPort)] =
      /^\s*(?:\[([\da-f:.]+)\]|([^\s:/@[\],]+))(?::(\d{1,5}))?\s*$/i.exec(one) ?? [];
    if (host === undefined || Number(port) < 1 || Number(port) > 65_535) {
      throw invalidAddress(`"${maskAddress(text)}" is no list of addresses: write host:port, several by commas`);
    }
    return { host, port: Number(port) };
  });
}

/** `host:port`, with an address of IPv6 in brackets. */
export function formatAddress({ host, port }: ServerAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function isTimeout(error: unknown): boolean {
  return (error as { readonly reason?: unknown } | undefined)?.reason === 'registry.timeout';
}
