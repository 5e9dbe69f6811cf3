import { Code, TenonError } from '../errors/errors.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { ConnectionSecurity } from '../tls/connection.ts';
import { KeepAlives } from './keep-alives.ts';
import type {
  EtcdCallBounds,
  EtcdChannel,
  KeyCondition,
  KeyRange,
  KeyValue,
  RangeResponse,
  TxnResponse,
} from './messages.ts';
import { Tokens } from './tokens.ts';
import { type KeyWatch, WatchStreams } from './watch-streams.ts';

/** Options of an {@link EtcdClient}. */
export interface EtcdClientOptions {
  readonly channel: EtcdChannel;
  readonly addressCount: number;
  readonly tools: Pick<Runtime, 'clock' | 'random' | 'timers'> & { readonly security: ConnectionSecurity };
  /** Time of a call, and the longest time for which a watch is without a server, in milliseconds. */
  readonly timeoutMs: number;
  /** Time of silence after which a watch asks etcd for a sign of life, in milliseconds. */
  readonly progressMs: number;
}

/** The value of a key, and the lease under which it is put. */
export interface KeyPut {
  readonly value: string;
  readonly lease: bigint;
}

// Keys of one answer. Fewer are asked for where their values are too large for one.
const pageKeys = 256;
// A key that others change each time between its reading and its writing is given up.
const maxRounds = 16;
const isAbsent: KeyCondition = { target: 'CREATE', createRevision: 0n };

/**
 * Calls the API of etcd 3. A token is fetched for credentials, and again when etcd no longer takes it. Errors are those
 * of the channel.
 */
export class EtcdClient {
  readonly #options: EtcdClientOptions;
  readonly #tokens: Tokens;
  readonly #keepAlives: KeepAlives;
  readonly #watches: WatchStreams;

  constructor(options: EtcdClientOptions) {
    this.#options = options;
    const { channel, tools: runtime, timeoutMs } = options;
    const { security } = runtime;
    const onValidAgain = (): void => this.#watches.tellResumed();
    const tokens = (this.#tokens = new Tokens({ channel, security, timeoutMs, onValidAgain }));
    const stateOf = async (key: Uint8Array, signal: AbortSignal): Promise<RangeResponse['header']> =>
      (await this.#call<RangeResponse>('KV/Range', { key }, { signal })).header;
    this.#keepAlives = new KeepAlives({ ...options, runtime, tokens });
    this.#watches = new WatchStreams({ ...options, runtime, tokens, stateOf });
  }

  /** Reads a key. */
  async get(key: string, bounds: EtcdCallBounds): Promise<KeyValue | undefined> {
    const { kvs } = await this.#call<RangeResponse>('KV/Range', { key: Buffer.from(key) }, bounds);
    return kvs[0];
  }

  /** Reads all keys of a range at one revision, page by page. */
  async getAll(range: KeyRange, bounds: EtcdCallBounds): Promise<Pick<RangeResponse, 'header' | 'kvs'>> {
    let pages: RangeResponse[] = [];
    let limit = pageKeys;
    for (;;) {
      const last = pages.at(-1)?.kvs.at(-1);
      const key = last ? Buffer.concat([last.key, Buffer.of(0)]) : range.key;
      const revision = pages[0]?.header.revision ?? 0n;
      try {
        const request = { ...range, key, revision, limit: BigInt(limit) };
        const page = await this.#call<RangeResponse>('KV/Range', request, bounds);
        pages.push(page);
        const [first = page] = pages;
        if (!page.more) return { header: first.header, kvs: pages.flatMap(({ kvs }) => kvs) };
      } catch (error) {
        const { code } = TenonError.from(error);
        if (code === Code.ResourceExhausted && limit > 1) limit = Math.ceil(limit / 8);
        // The revision was compacted meanwhile.
        else if (code === Code.OutOfRange && revision > 0n) pages = [];
        else throw error;
      }
    }
  }

  /**
   * Writes a key if the condition holds, or deletes it if there is no value. Otherwise returns what is there, with
   * `succeeded` false.
   */
  async writeIf(
    condition: KeyCondition,
    key: string,
    put: KeyPut | undefined,
    bounds: EtcdCallBounds,
  ): Promise<{ readonly succeeded: boolean; readonly found: KeyValue | undefined }> {
    const at = Buffer.from(key);
    const request = {
      compare: [{ result: 'EQUAL', key: at, ...condition }],
      success: [
        put
          ? { requestPut: { key: at, value: Buffer.from(put.value), lease: put.lease } }
          : { requestDeleteRange: { key: at } },
      ],
      failure: [{ requestRange: { key: at } }],
    };
    const { succeeded, responses } = await this.#call<TxnResponse>('KV/Txn', request, bounds);
    return { succeeded, found: responses[0]?.responseRange?.kvs[0] };
  }

  /**
   * Writes a key, or deletes it if there is no value, whatever others do to it meanwhile. Resolves to false if
   * something is there that `mayReplace` leaves.
   */
  async replace(
    key: string,
    put: KeyPut | undefined,
    mayReplace: (found: KeyValue) => boolean,
    bounds: EtcdCallBounds,
  ): Promise<boolean> {
    let condition = isAbsent;
    for (let round = 0; round < maxRounds; round += 1) {
      const { succeeded, found } = await this.writeIf(condition, key, put, bounds);
      // An attempt whose answer did not come may have written it.
      if (succeeded || (put && found?.lease === put.lease)) return true;
      if (found && !mayReplace(found)) return false;
      condition = found ? { target: 'MOD', modRevision: found.modRevision } : isAbsent;
    }
    throw new Error(`others write ${key} all the time`);
  }

  /** Creates a lease. Resolves to its id. */
  async grant(ttlMs: number, bounds: EtcdCallBounds): Promise<bigint> {
    const request = { TTL: BigInt(Math.ceil(ttlMs / 1_000)) };
    return (await this.#call<{ readonly ID: bigint }>('Lease/LeaseGrant', request, bounds)).ID;
  }

  /** Extends a lease. Resolves to false if there is no such lease. */
  keepAlive(id: bigint, bounds: EtcdCallBounds): Promise<boolean> {
    return this.#keepAlives.renew(id, bounds);
  }

  /** Ends a lease, if it is there, and removes the keys under it. */
  async revoke(id: bigint, bounds: EtcdCallBounds): Promise<void> {
    try {
      await this.#call('Lease/LeaseRevoke', { ID: id }, bounds);
    } catch (error) {
      if (TenonError.from(error).code !== Code.NotFound) throw error;
    }
  }

  /**
   * Reports the changes of a range of keys, each once and in order: a stream that broke is resumed at the revision
   * after the last one that was seen. Resolves when every later change is reported, until `signal` aborts.
   */
  watch(watch: KeyWatch, signal: AbortSignal): Promise<void> {
    return this.#watches.watch(watch, signal);
  }

  /** Ends renewals and the fetching of a token. The channel is its owner's. */
  close(): void {
    this.#tokens.close();
    this.#keepAlives.close();
  }

  /** Makes a call that may be made again, at another member. */
  async #call<T>(method: string, request: object, bounds: EtcdCallBounds): Promise<T> {
    const { channel, timeoutMs } = this.#options;
    const call = { timeoutMs, ...bounds, metadata: this.#tokens.metadata, isRepeatable: true };
    const send = (): Promise<unknown> => channel.unary(`etcdserverpb.${method}`, request, call);
    const token = this.#tokens.current;
    try {
      return (await send()) as T;
    } catch (error) {
      if (!this.#tokens.isRefused(error, token)) throw error;
      return (await send()) as T;
    }
  }
}
