import type { ApiClient, Selection } from './api-client.ts';
import type { EndpointSlice } from './endpoint-slice.ts';
import type { ApiResource } from './kubernetes.ts';
import type { Pod } from './pod-records.ts';
import { Reflector, type ReflectorOptions } from './reflector.ts';
import { SliceView, type SliceViewTools, type ViewedNode } from './slice-view.ts';

/** A change of one node. */
export interface NodeChange<R> extends Omit<ViewedNode<R>, 'source'> {
  readonly action: 'create' | 'update' | 'delete';
}

/** The slices, and the pods, of one service or of all. */
export interface SliceSource<R extends object> {
  readonly client: ApiClient;
  readonly resource: ApiResource;
  readonly by: Selection;
  /** The pods that have records of Go Micro's services. @default none */
  readonly pods?: { readonly resource: ApiResource; readonly by: Selection } | undefined;
  readonly view: SliceViewTools<R>;
}

/** Reads slices and pods once. Leases count as over by what is known of the server. */
export async function readSlices<R extends object>(
  { client, resource, by, pods, view: tools }: SliceSource<R>,
  signal: AbortSignal,
): Promise<SliceView<R>> {
  const view = new SliceView(tools);
  const [slices, found] = await Promise.all([
    client.list<EndpointSlice>(resource, by, signal),
    pods && client.list<Pod>(pods.resource, pods.by, signal),
  ]);
  view.replace(slices.items);
  view.replacePods(found?.items ?? []);
  view.lapse();
  return view;
}

/** Options of a {@link SliceCopy}. */
export interface SliceCopyOptions<R extends object>
  extends SliceSource<R>, Omit<ReflectorOptions<EndpointSlice>, 'replaced' | 'changed' | 'removed'> {
  /** Called with each change after the first list. */
  readonly tell: (change: NodeChange<R>) => void;
}

// Slices whose leases may be over are asked for one by one: that costs no more where the list of all is large.
const maxConfirmed = 16;

/**
 * A copy of the EndpointSlices of one service, or of all, and of the pods of Go Micro's services. It follows the API
 * server and reports the changes.
 */
export class SliceCopy<R extends object> {
  readonly view: SliceView<R>;
  /** Resolves when all is read. Then every change is reported. */
  readonly started: Promise<void>;
  readonly #options: SliceCopyOptions<R>;
  readonly #ended = new AbortController();
  readonly #reported = new Map<string, Map<string, ViewedNode<R>>>();
  #isStarted = false;

  constructor(options: SliceCopyOptions<R>) {
    this.#options = options;
    const view = (this.view = new SliceView<R>(options.view));
    const slices = new Reflector<EndpointSlice>({
      ...options,
      replaced: (all) => this.#replaced(() => view.replace(all)),
      changed: (slice) => this.#report(view.put(slice)),
      removed: (slice) => this.#report(view.remove(slice)),
    });
    const pods =
      options.pods &&
      new Reflector<Pod>({
        ...options,
        ...options.pods,
        replaced: (all) => this.#replaced(() => view.replacePods(all)),
        changed: (pod) => this.#report(view.putPod(pod)),
        removed: (pod) => this.#report(view.removePod(pod)),
      });
    this.started = this.#start([slices, ...(pods ? [pods] : [])]);
    this.started.catch(() => {});
  }

  /**
   * Asks the API server about leases that should have ended, so that nobody is dropped whose renewal was not heard of.
   * Leases stay while it does not answer.
   */
  async confirmLapsed(signal: AbortSignal): Promise<void> {
    const { client, resource, by } = this.#options;
    const asked = this.view.overdue.slice(0, maxConfirmed).map(async (name) => {
      const one = { ...by, fieldSelector: `metadata.name=${name}` };
      const { items } = await client.list<EndpointSlice>(resource, one, signal);
      return [name, items[0]?.metadata?.resourceVersion] as const;
    });
    if (asked.length > 0) this.view.lapse(new Map(await Promise.all(asked)));
  }

  /** Follows no longer. */
  stop(): void {
    this.#ended.abort();
  }

  async #start(reflectors: readonly { start(signal: AbortSignal): Promise<void> }[]): Promise<void> {
    await Promise.all(reflectors.map((one) => one.start(this.#ended.signal)));
    this.#isStarted = true;
  }

  #replaced(replace: () => void): void {
    const before = this.view.services;
    replace();
    this.#report([...before, ...this.view.services]);
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
