import { Code, TenonError, textOf } from '../errors/errors.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { ConnectionSecurity } from '../tls/connection.ts';
import { type ReplyStream, ResumedStream, StreamEnded } from './resumed-stream.ts';

/** The head of each reply: the state of the member that answered. */
export interface ResponseHeader {
  readonly clusterId: bigint;
  readonly revision: bigint;
  readonly raftTerm: bigint;
}

/** A key with its value. */
export interface KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly modRevision: bigint;
  /** 0 without a lease. */
  readonly lease: bigint;
}

interface RangeResponse {
  readonly header: ResponseHeader;
  readonly kvs: readonly KeyValue[];
  /** True if there are more keys than the limit of the request allows. */
  readonly more: boolean;
}

interface TxnResponse {
  readonly succeeded: boolean;
  /** The replies of the branch that was taken. */
  readonly responses: readonly { readonly responseRange?: RangeResponse | undefined }[];
}

/** The condition of a write: the revision at which a key was made (0: there is none) or changed, or its lease. */
export type KeyCondition =
  | { readonly target: 'CREATE'; readonly createRevision: bigint }
  | { readonly target: 'MOD'; readonly modRevision: bigint }
  | { readonly target: 'LEASE'; readonly lease: bigint };

/** The keys from `key` up to `rangeEnd`, which is not one of them. */
export interface KeyRange {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}

/** One change of a key. */
export interface KeyEvent {
  readonly type: 'PUT' | 'DELETE';
  readonly kv: KeyValue;
  readonly prevKv?: KeyValue | undefined;
}

interface WatchResponse {
  readonly header: ResponseHeader;
  readonly canceled: boolean;
  readonly cancelReason: string;
  readonly compactRevision: bigint;
  /** True if more events of the same revision follow. */
  readonly fragment: boolean;
  readonly events: readonly KeyEvent[];
}

/** Bounds of one call. */
export interface EtcdCallBounds {
  readonly signal: AbortSignal;
  /** @default the client's time-out */
  readonly timeoutMs?: number | undefined;
  /** Longest time for one attempt, in milliseconds; then the call is made again. @default a share of the time-out */
  readonly attemptMs?: number | undefined;
}

/** Bounds and metadata of a call, for an {@link EtcdChannel}. */
export interface EtcdChannelCall extends EtcdCallBounds {
  readonly metadata: () => Promise<Record<string, string>>;
  readonly isRepeatable?: boolean | undefined;
}

/** Carries calls to the members of a cluster by gRPC: the kit of registries has one. */
export interface EtcdChannel {
  unary(method: string, request: unknown, call: EtcdChannelCall): Promise<unknown>;
  /** Makes a call of a method that streams, with one request and one reply. */
  exchange(method: string, request: unknown, call: EtcdChannelCall): Promise<unknown>;
  stream(method: string, request: unknown, call: EtcdChannelCall): Promise<ReplyStream>;
}

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

/** A range of keys, and what is told of it. */
export interface KeyWatch extends KeyRange {
  readonly onEvent: (event: KeyEvent) => void;
  /** Called when changes were compacted before they were seen. The watch goes on after them. */
  readonly onGap: () => void;
  /**
   * Called when a stream that broke was resumed, before the changes since; and when credentials are valid again that
   * were not.
   */
  readonly onResumed: () => void;
  /** Called once if the watch cannot go on. `why` follows "the watch ended,". */
  readonly onLost: (why: string, cause: unknown) => void;
}

// Metadata of etcd's own clients: a member that has lost the others refuses, instead of answering from its own past.
const requireLeader = { hasleader: 'true' };
// Keys of one answer. Fewer are asked for where their values are too large for one.
const pageKeys = 256;

/**
 * Calls the API of etcd 3. A token is fetched for credentials, and again when etcd no longer takes it. Errors are those
 * of the channel.
 */
export class EtcdClient {
  readonly #options: EtcdClientOptions;
  readonly #closing = new AbortController();
  readonly #metadata = async (): Promise<Record<string, string>> => {
    if (!this.#options.tools.security.hasCredentials) return requireLeader;
    return { ...requireLeader, token: await (this.#token ??= this.#authenticate()) };
  };
  #token: Promise<string> | undefined;
  /** The password that etcd took last. */
  #proved: string | undefined;
  #isDenied = false;
  readonly #watches = new Set<() => void>();

  constructor(options: EtcdClientOptions) {
    this.#options = options;
  }

  /** Makes a call that may be made again, at another member. A method that streams is called by `exchange`. */
  async #call<T>(
    method: string,
    request: object,
    bounds: EtcdCallBounds,
    kind: 'unary' | 'exchange' = 'unary',
  ): Promise<T> {
    const { channel, timeoutMs } = this.#options;
    const call = { timeoutMs, ...bounds, metadata: this.#metadata, isRepeatable: true };
    const send = (): Promise<unknown> => channel[kind](`etcdserverpb.${method}`, request, call);
    const token = this.#token;
    try {
      return (await send()) as T;
    } catch (error) {
      if (!this.#isTokenRefused(error, token)) throw error;
      return (await send()) as T;
    }
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
    put: { readonly value: string; readonly lease: bigint } | undefined,
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

  /** Creates a lease. Resolves to its id. */
  async grant(ttlMs: number, bounds: EtcdCallBounds): Promise<bigint> {
    const request = { TTL: BigInt(Math.ceil(ttlMs / 1_000)) };
    return (await this.#call<{ readonly ID: bigint }>('Lease/LeaseGrant', request, bounds)).ID;
  }

  /** Extends a lease. Resolves to false if there is no such lease. */
  async keepAlive(id: bigint, bounds: EtcdCallBounds): Promise<boolean> {
    const reply = await this.#call<{ readonly TTL: bigint } | undefined>(
      'Lease/LeaseKeepAlive',
      { ID: id },
      bounds,
      'exchange',
    );
    return reply !== undefined && reply.TTL > 0n;
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
  watch({ key, rangeEnd, onEvent, onGap, onResumed, onLost }: KeyWatch, signal: AbortSignal): Promise<void> {
    const { channel, addressCount, tools, timeoutMs, progressMs } = this.#options;
    // The revision from which changes are still to be seen; 0 for those from now on.
    let startRevision = 0n;
    let hasGap = false;
    let isResumed = false;
    let newest: ResponseHeader | undefined;
    let token: Promise<string> | undefined;
    const onCanceled = ({ compactRevision, cancelReason }: WatchResponse): never => {
      if (compactRevision > 0n) {
        startRevision = 0n;
        hasGap = true;
      } else if (!this.#isTokenRefused(cancelReason, token))
        throw new StreamEnded(`as etcd refused it (${cancelReason})`);
      throw new Error(`etcd ended the watch: ${cancelReason}`);
    };
    const stream = new ResumedStream<WatchResponse>({
      runtime: tools,
      addressCount,
      timeoutMs,
      onLost,
      serverName: 'etcd',
      quietMs: progressMs,
      probe: { progressRequest: {} },
      open: (ended) => {
        token = this.#token;
        const createRequest = { key, rangeEnd, startRevision, progressNotify: true, prevKv: true, fragment: true };
        const call = { signal: ended, metadata: this.#metadata };
        return channel.stream('etcdserverpb.Watch/Watch', { createRequest }, call);
      },
      onOpened: async (reply) => {
        const { header } = reply;
        if (reply.canceled) onCanceled(reply);
        if (newest && isBehind(header, newest)) {
          // A member that lags will catch up. If all are behind, what was seen is no longer there.
          const { header: current } = await this.#call<RangeResponse>('KV/Range', { key }, { signal });
          if (isBehind(current, newest)) throw new StreamEnded('as etcd has lost its data');
        } else newest = header;
        if (startRevision === 0n) startRevision = header.revision + 1n;
        if (isResumed) onResumed();
        isResumed = true;
        if (hasGap) onGap();
        hasGap = false;
      },
      onReply: (reply) => {
        const { header, events, fragment } = reply;
        if (reply.canceled) onCanceled(reply);
        for (const event of events) onEvent(event);
        const last = events.at(-1)?.kv.modRevision;
        if (last !== undefined) startRevision = fragment ? last : last + 1n;
        else if (header.revision >= startRevision) startRevision = header.revision + 1n;
        if (newest && !isBehind(header, newest)) newest = header;
      },
      onFailed: (error) => this.#isTokenRefused(error, token),
    });
    this.#watches.add(onResumed);
    signal.addEventListener('abort', () => this.#watches.delete(onResumed), { once: true });
    return stream.start(signal);
  }

  /** Ends the fetching of a token. The channel is its owner's. */
  close(): void {
    this.#closing.abort();
  }

  /** True if another token may help. The next call fetches it, unless there is another one than `used` already. */
  #isTokenRefused(error: unknown, used: Promise<string> | undefined): boolean {
    const isRefused = /invalid auth token|revision of auth store is old|user name is empty/.test(textOf(error));
    if (isRefused && (used === undefined || this.#token === used)) this.#token = undefined;
    return isRefused && this.#options.tools.security.hasCredentials;
  }

  /** While the credentials were not valid, nodes could not be renewed, and watches went on. */
  #tellOfDenial(): void {
    this.#isDenied = false;
    for (const onResumed of this.#watches) onResumed();
  }

  async #authenticate(): Promise<string> {
    const { channel, tools, timeoutMs } = this.#options;
    try {
      const { username: name, password } = tools.security;
      const request = { name, password };
      const metadata = (): Promise<typeof requireLeader> => Promise.resolve(requireLeader);
      const call = { signal: this.#closing.signal, timeoutMs, metadata, isRepeatable: true };
      const reply = await channel.unary('etcdserverpb.Auth/Authenticate', request, call);
      if (this.#isDenied || (this.#proved !== undefined && this.#proved !== password)) this.#tellOfDenial();
      this.#proved = password;
      return (reply as { readonly token: string }).token;
    } catch (error) {
      // Without authentication any token is as good.
      if (/authentication is not enabled/.test(textOf(error))) return '';
      if (TenonError.from(error).code === Code.InvalidArgument) this.#isDenied = true;
      this.#token = undefined;
      throw error;
    }
  }
}

/** True if a member has not seen what was seen before: it lags, or belongs to another cluster, or began again. */
function isBehind(now: ResponseHeader, before: ResponseHeader): boolean {
  return now.clusterId !== before.clusterId || now.raftTerm < before.raftTerm || now.revision < before.revision;
}
