import type { SelectOptions } from '../selector.ts';
import type { Partition } from './outlier-detection.ts';
import type { PoolOptions } from './pool-options.ts';
import type { PooledNode } from './pooled-node.ts';
import { zoneShares } from './zone-shares.ts';

/** Key of the node's metadata that holds its zone. */
export const zoneKey = 'zone';
/** Key of the node's metadata that is `true` on canaries. */
export const canaryKey = 'canary';

/** Nodes among which a strategy selects. */
export interface NodeGroup<State, Memory> {
  readonly nodes: readonly PooledNode<State>[];
  /** Nodes to try after all of them have failed. */
  readonly rest: readonly PooledNode<State>[];
  /** True for nodes of `rest` that its calls may try first. @default all */
  readonly admits?: ((node: PooledNode<State>) => boolean) | undefined;
  /** The memory of the strategy, which is the group's own. */
  readonly memory: Memory;
}

/** Groups with their parts of the calls, which add up to 1. */
type Shares<State, Memory> = readonly { readonly share: number; readonly group: NodeGroup<State, Memory> }[];

// Values of routes come from callers.
const mostRoutes = 100;

/** Divides the nodes of a service by zone, canary and route, and says which group a call belongs to. */
export class NodeGroups<State, Memory> {
  readonly #memoryOf: () => Memory;
  /** The memories by the names of the groups: they outlive changes of the nodes. */
  readonly #memories = new Map<string, Memory>();
  #whole: NodeGroup<State, Memory>;
  /** All groups but those of routes; absent if there is one alone. */
  #shares: Shares<State, Memory> | undefined;
  #routes: Map<string, NodeGroup<State, Memory> | undefined> | undefined;
  #routeKey: string | undefined;

  constructor(memoryOf: () => Memory) {
    this.#memoryOf = memoryOf;
    this.#whole = this.#group('', [], []);
  }

  /** All nodes to select from. */
  get whole(): NodeGroup<State, Memory> {
    return this.#whole;
  }

  /** True if a call's group depends on chance. */
  get dependOnChance(): boolean {
    return this.#shares !== undefined;
  }

  /** Takes the nodes to select from. `callers` are the counts of callers by zone, if they are known. */
  update(
    { available, lastResort, isPanic }: Partition<PooledNode<State>>,
    options: PoolOptions,
    callers: ReadonlyMap<string, number> | undefined,
  ): void {
    this.#whole = this.#group('', available, lastResort);
    this.#routeKey = options.routeKey;
    this.#routes = undefined;
    this.#shares = undefined;
    const { canaryPercent } = options;
    const canaries = canaryPercent === undefined ? [] : available.filter(({ record }) => isCanary(record.metadata));
    const isDivided = canaries.length > 0 && canaries.length < available.length;
    const ordinary = isDivided ? available.filter(({ record }) => !isCanary(record.metadata)) : available;
    const zones = isPanic ? undefined : this.#zonesOf(ordinary, options, callers);
    if (!isDivided) {
      this.#shares = zones;
      return;
    }
    const share = (canaryPercent ?? 0) / 100;
    this.#shares = [
      { share, group: this.#part('canary', canaries) },
      ...(zones ?? [{ share: 1, group: this.#part('ordinary', ordinary) }]).map((one) => ({
        ...one,
        share: one.share * (1 - share),
      })),
    ];
  }

  /** Returns the group of a call. `chance` is from [0, 1). */
  of(call: SelectOptions | undefined, chance: number): NodeGroup<State, Memory> {
    if (this.#routeKey !== undefined) {
      const route = call?.metadata?.text(this.#routeKey);
      const group = route === undefined ? undefined : this.#routed(route);
      if (group) return group;
    }
    if (!this.#shares) return this.#whole;
    let left = chance;
    for (const { share, group } of this.#shares) {
      left -= share;
      if (left < 0) return group;
    }
    return this.#shares.at(-1)?.group ?? this.#whole;
  }

  /** Returns the nodes that have the label `key=value`; `undefined` if there are none: then the call goes to any. */
  #routed(route: string): NodeGroup<State, Memory> | undefined {
    const routes = (this.#routes ??= new Map());
    if (routes.has(route)) return routes.get(route);
    const cut = route.indexOf('=');
    const key = route.slice(0, Math.max(0, cut)).trim();
    const value = route.slice(cut + 1).trim();
    const hasLabel = ({ record }: PooledNode<State>): boolean => record.metadata[key] === value;
    const nodes = cut < 1 ? [] : this.#whole.nodes.filter(hasLabel);
    if (nodes.length === this.#whole.nodes.length && this.#whole.rest.every(hasLabel)) return undefined;
    const group = nodes.length === 0 ? undefined : { ...this.#part(`route ${route}`, nodes), admits: hasLabel };
    if (routes.size < mostRoutes) routes.set(route, group);
    return group;
  }

  #zonesOf(
    nodes: readonly PooledNode<State>[],
    { zone, zoneMinNodes }: PoolOptions,
    callers: ReadonlyMap<string, number> | undefined,
  ): Shares<State, Memory> | undefined {
    if (zone === undefined || nodes.length < zoneMinNodes) return undefined;
    const byZone = new Map<string, PooledNode<State>[]>();
    for (const node of nodes) {
      const one = node.record.metadata[zoneKey] ?? '';
      const known = byZone.get(one);
      if (known) known.push(node);
      else byZone.set(one, [node]);
    }
    const shares = zoneShares(zone, new Map([...byZone].map(([one, { length }]) => [one, length])), callers);
    if (!shares) return undefined;
    const groupOf = (one: string): NodeGroup<State, Memory> => this.#part(`zone ${one}`, byZone.get(one) ?? []);
    const away = 1 - shares.local;
    return [
      { share: shares.local, group: groupOf(zone) },
      ...shares.others
        .filter(({ share }) => share > 0)
        .map((one) => ({ share: one.share * away, group: groupOf(one.zone) })),
    ];
  }

  /** Makes a group of some of the nodes to select from: the others come after them. */
  #part(name: string, nodes: readonly PooledNode<State>[]): NodeGroup<State, Memory> {
    const own = new Set(nodes);
    const { nodes: all, rest } = this.#whole;
    return this.#group(name, nodes, [...all.filter((node) => !own.has(node)), ...rest]);
  }

  #group(
    name: string,
    nodes: readonly PooledNode<State>[],
    rest: readonly PooledNode<State>[],
  ): NodeGroup<State, Memory> {
    let memory = this.#memories.get(name);
    if (memory === undefined) {
      memory = this.#memoryOf();
      if (this.#memories.size < 2 * mostRoutes) this.#memories.set(name, memory);
    }
    return { nodes, rest, memory };
  }
}

function isCanary(metadata: Readonly<Record<string, string>>): boolean {
  return metadata[canaryKey] === 'true';
}
