import { onAbort } from '../internal/abort.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { EtcdChannel, KeyEvent, KeyRange, ResponseHeader, WatchResponse } from './messages.ts';
import { ResumedStream, StreamEnded } from './resumed-stream.ts';
import type { Tokens } from './tokens.ts';

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

/** Options of {@link WatchStreams}. */
export interface WatchStreamsOptions {
  readonly channel: EtcdChannel;
  readonly addressCount: number;
  readonly runtime: Pick<Runtime, 'clock' | 'random' | 'timers'>;
  readonly tokens: Tokens;
  /** The longest time for which watches are without a server, in milliseconds. */
  readonly timeoutMs: number;
  /** Time of silence after which etcd is asked for a sign of life, in milliseconds. */
  readonly progressMs: number;
  /** Asks for the state of etcd, with a right to read the key. */
  readonly stateOf: (key: Uint8Array, signal: AbortSignal) => Promise<ResponseHeader>;
}

/** A watch from when it is wanted until its signal aborts, or it is lost. */
interface Entry {
  readonly watch: KeyWatch;
  /** Settles what waits for the watch. */
  readonly established: () => void;
  readonly failed: (error: unknown) => void;
  /** Its number on its stream, once etcd has made it there. */
  watchId: bigint | undefined;
  isEstablished: boolean;
  /** The revision from which changes are still to be seen; 0 for those from now on. */
  startRevision: bigint;
  /** The revision before which changes were seen already, that etcd may tell again. */
  seenBefore: bigint;
  hasGap: boolean;
  /** True if it is asked for on a stream after one that broke. */
  isResuming: boolean;
  askedAtMs: number;
  /** The number of refusals in turn for the token of its stream. */
  refusals: number;
}

// A watch that this many tokens did not help is refused for good.
const maxRefusals = 3;

/**
 * The watches of a client, as many as possible on one stream. A watch gets another stream than those before it while
 * theirs is broken, so that it fails at once where etcd cannot be reached; and where etcd no longer takes the token of
 * theirs.
 */
export class WatchStreams {
  readonly #options: WatchStreamsOptions;
  readonly #streams = new Set<WatchStream>();

  constructor(options: WatchStreamsOptions) {
    this.#options = options;
  }

  /** Resolves when every later change is reported, until `signal` aborts. */
  async watch(watch: KeyWatch, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    return new Promise((established, failed) => {
      const entry: Entry = {
        watch,
        established,
        failed,
        watchId: undefined,
        isEstablished: false,
        startRevision: 0n,
        seenBefore: 0n,
        hasGap: false,
        isResuming: false,
        askedAtMs: 0,
        refusals: 0,
      };
      this.#add(entry);
      onAbort(signal, (reason) => {
        for (const stream of this.#streams) stream.remove(entry);
        failed(reason);
      });
    });
  }

  /** Tells all watches that the server may have removed what could not be renewed. */
  tellResumed(): void {
    for (const stream of this.#streams) stream.tellResumed();
  }

  #add(entry: Entry): void {
    for (const stream of this.#streams) if (stream.takesMore) return stream.add(entry);
    const stream = new WatchStream(this.#options, {
      onRefused: (refused) => this.#add(refused),
      onEnded: () => this.#streams.delete(stream),
    });
    this.#streams.add(stream);
    stream.add(entry);
  }
}

/** The owner of a {@link WatchStream}, which is told of what it has to do. */
interface WatchStreamOwner {
  /** Takes a watch that was refused for the token of the stream. */
  readonly onRefused: (entry: Entry) => void;
  /** Called once when it has no more watches. */
  readonly onEnded: () => void;
}

/** Watches on one stream. etcd gives them numbers, in the order in which they are asked for. */
class WatchStream {
  readonly #options: WatchStreamsOptions;
  readonly #owner: WatchStreamOwner;
  readonly #stream: ResumedStream<WatchResponse>;
  readonly #ended = new AbortController();
  readonly #entries = new Set<Entry>();
  /** Those that etcd has not answered yet, in order. One of them may be removed already. */
  #asked: Entry[] = [];
  readonly #byId = new Map<bigint, Entry>();
  /** Those that were asked for again on the stream, as changes were compacted. */
  readonly #again = new Set<Entry>();
  #isStarting = false;
  #token: Promise<string> | undefined;
  #newest: ResponseHeader | undefined;

  constructor(options: WatchStreamsOptions, owner: WatchStreamOwner) {
    const { channel, tokens, progressMs } = options;
    this.#options = options;
    this.#owner = owner;
    const metadata = async (): ReturnType<Tokens['metadata']> => {
      const values = await tokens.metadata();
      this.#token = tokens.current;
      return values;
    };
    this.#stream = new ResumedStream<WatchResponse>({
      ...options,
      serverName: 'etcd',
      quietMs: progressMs,
      probe: { progressRequest: {} },
      open: (signal) => channel.stream('etcdserverpb.Watch/Watch', undefined, { signal, metadata }),
      begin: () => this.#begin(),
      onOpened: (reply) => this.#onOpened(reply),
      onReply: (reply) => this.#onReply(reply),
      dueAtMs: (heardAtMs) => this.#dueAtMs(heardAtMs),
      onFailed: (error) => tokens.isRefused(error, this.#token),
      onLost: (why, cause) => this.#lose(why, cause),
    });
  }

  /** True if another watch may be added. */
  get takesMore(): boolean {
    if (this.#ended.signal.aborted) return false;
    return this.#isStarting || (this.#stream.isOpen && this.#token === this.#options.tokens.current);
  }

  add(entry: Entry): void {
    this.#entries.add(entry);
    if (this.#entries.size > 1 || this.#isStarting) return this.#ask(entry);
    this.#isStarting = true;
    void this.#start();
  }

  remove(entry: Entry): void {
    if (!this.#entries.has(entry)) return;
    const { watchId } = entry;
    if (watchId !== undefined) this.#stream.send({ cancelRequest: { watchId } });
    this.#drop(entry);
  }

  tellResumed(): void {
    for (const { watch, isEstablished } of this.#entries) if (isEstablished) watch.onResumed();
  }

  async #start(): Promise<void> {
    try {
      await this.#stream.start(this.#ended.signal);
    } catch (error) {
      this.#lose('as etcd cannot be reached', error);
    }
    this.#isStarting = false;
  }

  #begin(): void {
    this.#asked = [];
    this.#byId.clear();
    this.#again.clear();
    for (const entry of this.#entries) {
      entry.watchId = undefined;
      entry.isResuming = entry.isEstablished;
      this.#ask(entry);
    }
  }

  /** Asks for a watch, if there is a stream: otherwise the next stream begins with it. */
  #ask(entry: Entry): void {
    if (!this.#stream.isOpen) return;
    const { watch, startRevision } = entry;
    const { key, rangeEnd } = watch;
    entry.seenBefore = startRevision;
    // From a revision that is there: before the first one that a watch asks for etcd gives no sign of progress.
    const from = startRevision > 0n ? startRevision - 1n : 0n;
    const createRequest = { key, rangeEnd, startRevision: from, progressNotify: true, prevKv: true, fragment: true };
    entry.askedAtMs = this.#options.runtime.clock.monotonicMs();
    this.#asked.push(entry);
    this.#stream.send({ createRequest }, entry.askedAtMs + this.#stream.attemptMs);
  }

  #dueAtMs(heardAtMs: number): number {
    const [oldest] = this.#asked;
    return oldest ? Math.max(oldest.askedAtMs, heardAtMs) + this.#stream.attemptMs : Number.POSITIVE_INFINITY;
  }

  async #onOpened(reply: WatchResponse): Promise<void> {
    const { header, created, canceled, cancelReason } = reply;
    if (!created) throw new Error('etcd told of a watch before it was made');
    if (canceled && this.#options.tokens.isRefused(cancelReason, this.#token))
      throw new Error(`etcd refused the watch: ${cancelReason}`);
    const newest = this.#newest;
    if (newest && isBehind(header, newest)) {
      // A member that lags will catch up. If all are behind, what was seen is no longer there.
      const key = this.#asked[0]?.watch.key ?? Buffer.of(0);
      const current = await this.#options.stateOf(key, this.#ended.signal);
      if (isBehind(current, newest)) throw new StreamEnded('as etcd has lost its data');
    } else this.#newest = header;
    this.#onReply(reply);
  }

  #onReply(reply: WatchResponse): void {
    const { watchId, header, created, canceled } = reply;
    if (created) this.#onCreated(reply);
    else if (canceled) this.#onCanceled(reply);
    else if (watchId === -1n) {
      this.#again.clear();
      for (const entry of this.#byId.values()) onProgress(entry, header);
    } else {
      const entry = this.#byId.get(watchId);
      if (!entry) return;
      this.#again.delete(entry);
      onEvents(entry, reply);
    }
    if (this.#newest && !isBehind(header, this.#newest)) this.#newest = header;
  }

  #onCreated(reply: WatchResponse): void {
    const entry = this.#asked.shift();
    if (!entry) throw new Error('etcd made a watch that was not asked for');
    const { watchId, header, canceled } = reply;
    if (!this.#entries.has(entry)) {
      if (!canceled) this.#stream.send({ cancelRequest: { watchId } });
      return;
    }
    if (canceled) return this.#onEnd(entry, reply);
    if (this.#byId.has(watchId)) throw new Error(`etcd made watch ${watchId} twice`);
    const { watch, isResuming, hasGap } = entry;
    this.#byId.set(watchId, entry);
    entry.watchId = watchId;
    entry.refusals = 0;
    if (entry.startRevision === 0n) entry.startRevision = header.revision + 1n;
    entry.isEstablished = true;
    entry.isResuming = false;
    entry.hasGap = false;
    entry.established();
    if (isResuming) watch.onResumed();
    if (hasGap) watch.onGap();
  }

  #onCanceled(reply: WatchResponse): void {
    const entry = this.#byId.get(reply.watchId);
    if (!entry) return;
    this.#byId.delete(reply.watchId);
    entry.watchId = undefined;
    // etcd keeps a watch whose changes were compacted, and gives no sign of progress on its stream, until it is told.
    if (reply.compactRevision > 0n) this.#stream.send({ cancelRequest: { watchId: reply.watchId } });
    this.#onEnd(entry, reply);
  }

  /** Handles the end of a watch for which etcd has a reason. */
  #onEnd(entry: Entry, { compactRevision, cancelReason }: WatchResponse): void {
    const { tokens } = this.#options;
    if (compactRevision > 0n) {
      entry.startRevision = 0n;
      entry.hasGap = true;
      if (this.#again.has(entry)) throw new Error(`etcd ended the watch twice: ${cancelReason}`);
      this.#again.add(entry);
      this.#ask(entry);
    } else if (tokens.isRefused(cancelReason, this.#token) && (entry.refusals += 1) <= maxRefusals) {
      entry.isResuming = entry.isEstablished;
      this.#drop(entry);
      this.#owner.onRefused(entry);
    } else {
      this.#drop(entry);
      const why = `as etcd refused it (${cancelReason})`;
      tell(entry, why, new StreamEnded(why));
    }
  }

  #drop(entry: Entry): void {
    this.#entries.delete(entry);
    this.#again.delete(entry);
    if (entry.watchId !== undefined) this.#byId.delete(entry.watchId);
    entry.watchId = undefined;
    if (this.#entries.size === 0) this.#end();
  }

  #lose(why: string, cause: unknown): void {
    const lost = [...this.#entries];
    this.#entries.clear();
    this.#end();
    for (const entry of lost) tell(entry, why, cause);
  }

  #end(): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    this.#owner.onEnded();
  }
}

function onEvents(entry: Entry, { header, events, fragment }: WatchResponse): void {
  for (const event of events) if (event.kv.modRevision >= entry.seenBefore) entry.watch.onEvent(event);
  const last = events.at(-1)?.kv.modRevision;
  if (last === undefined) onProgress(entry, header);
  else if (!fragment) entry.startRevision = last + 1n;
  // More of the same revision follows. What was seen before stays seen.
  else entry.startRevision = last > entry.seenBefore ? last : entry.seenBefore;
}

function onProgress(entry: Entry, { revision }: ResponseHeader): void {
  if (revision >= entry.startRevision) entry.startRevision = revision + 1n;
}

function tell({ watch, isEstablished, failed }: Entry, why: string, cause: unknown): void {
  if (isEstablished) watch.onLost(why, cause);
  else failed(cause);
}

/** True if a member has not seen what was seen before: it lags, or belongs to another cluster, or began again. */
function isBehind(now: ResponseHeader, before: ResponseHeader): boolean {
  return now.clusterId !== before.clusterId || now.raftTerm < before.raftTerm || now.revision < before.revision;
}
