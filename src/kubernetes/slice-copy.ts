import type { EndpointSlice } from './endpoint-slice.ts';
import { Reflector, type ReflectorOptions } from './reflector.ts';
import { SliceView, type SliceViewTools, type ViewedNode } from './slice-view.ts';

/** A change of one node. */
export interface NodeChange<R> extends Omit<ViewedNode<R>, 'source'> {
  readonly action: 'create' | 'update' | 'delete';
}

/** Options of a {@link SliceCopy}. */
export interface SliceCopyOptions<R extends object> extends Omit<
  ReflectorOptions<EndpointSlice>,
  'replaced' | 'changed' | 'removed'
> {
  readonly view: SliceViewTools<R>;
  /** Called with each change after the first list. */
  readonly tell: (change: NodeChange<R>) => void;
}

/** A copy of the EndpointSlices of one service, or of all, which follows the API server and reports the changes. */
export class SliceCopy<R extends object> {
  readonly view: SliceView<R>;
  /** Resolves when the slices are read. Then every change is reported. */
  readonly started: Promise<void>;
  readonly #options: SliceCopyOptions<R>;
  readonly #ended = new AbortController();
  readonly #reported = new Map<string, Map<string, ViewedNode<R>>>();
  #isStarted = false;

  constructor(options: SliceCopyOptions<R>) {
    this.#options = options;
    this.view = new SliceView<R>(options.view);
    const reflector = new Reflector<EndpointSlice>({
      ...options,
      replaced: (slices) => {
        const before = this.view.services;
        this.view.replace(slices);
        this.#report([...before, ...this.view.services]);
        this.#isStarted = true;
      },
      changed: (slice) => this.#report(this.view.put(slice)),
      removed: ({ metadata }) => this.#report(this.view.remove(metadata?.name ?? '')),
    });
    this.started = reflector.start(this.#ended.signal);
    this.started.catch(() => {});
  }

  /**
   * Asks the API server about leases that should have ended, so that nobody is dropped whose renewal was not heard of.
   * Leases stay while it does not answer.
   */
  async confirmLapsed(signal: AbortSignal): Promise<void> {
    if (!this.view.isDue) return;
    const { client, resource, by } = this.#options;
    const { items } = await client.list<EndpointSlice>(resource, by, signal);
    const versions = new Map(items.map(({ metadata }) => [metadata?.name, metadata?.resourceVersion]));
    this.view.lapse((name, version) => versions.get(name) !== version);
  }

  /** Follows no longer. */
  stop(): void {
    this.#ended.abort();
  }

  #report(services: readonly string[]): void {
    for (const name of new Set(services)) {
      const before = this.#reported.get(name) ?? new Map<string, ViewedNode<R>>();
      const after = new Map(this.view.nodes(name).map((node) => [node.id, node]));
      if (after.size === 0) this.#reported.delete(name);
      else this.#reported.set(name, after);
      if (!this.#isStarted) continue;
      const { tell } = this.#options;
      for (const [id, { record, leaseMs, source }] of after) {
        const known = before.get(id);
        if (known?.source !== source) tell({ action: known ? 'update' : 'create', id, record, leaseMs });
      }
      for (const [id, { record }] of before) if (!after.has(id)) tell({ action: 'delete', id, record });
    }
  }
}
