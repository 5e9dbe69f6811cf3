import { backendRows } from '../../src/app/internal/backend-table.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import type { NodeRecord, Registry, ServiceRecord } from '../../src/registry/registry.ts';
import type { Clock, Random } from '../../src/runtime/runtime.ts';
import type {
  NextNode,
  SelectOptions,
  Selector,
  SelectorObserver,
  SelectorOptions,
} from '../../src/selector/selector.ts';
import { type VirtualTimers, virtualRuntime } from '../../src/testing/virtual-time.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';

/** A registry cache with the given records, which a test may replace. */
export function registryOf(records: { current: readonly ServiceRecord[] }): Registry {
  return { peek: () => records.current } as unknown as Registry;
}

/** Random numbers of a fixed seed (mulberry32), so that bounds of statistics hold in every run. */
export function seededRandom(seed = 1): Random {
  let state = seed;
  return {
    next() {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    },
    uuid: () => '00000000-0000-4000-8000-000000000000',
  };
}

type SelectorClass = new (
  registry: Registry,
  options?: SelectorOptions,
  clock?: Clock,
  random?: Random,
  observer?: SelectorObserver,
) => Selector;

const classes = new Map<string, SelectorClass>();
for (const { name, load } of backendRows.selector)
  classes.set(name, (await load({})).implementation as unknown as SelectorClass);

/** The names of all selectors. */
export const selectorNames: readonly string[] = [...classes.keys()];

/** The class of a selector. */
export function selectorClass(name: string): SelectorClass {
  const found = classes.get(name);
  if (!found) throw new Error(`there is no selector "${name}"`);
  return found;
}

/** A {@link Rig} with the selector of that name. */
export function rigFor(
  name: string,
  nodes: readonly (string | NodeRecord)[],
  options: SelectorOptions = {},
  observer?: SelectorObserver,
): Rig<Selector> {
  const Class = selectorClass(name);
  return rigOf(nodes, (registry, { clock }, random) => new Class(registry, options, clock, random, observer));
}

/** An error of a call. */
export function errorOf(reason: string | undefined, code: Code = Code.Unavailable): TenonError {
  return new TenonError({ code, reason, message: 'of the test' });
}

export const lost = errorOf('transport.connection_lost');
export const unreachable = errorOf('transport.unreachable');

/** A selector over nodes that a test decides, with time that stands still. */
export interface Rig<S extends Selector> {
  readonly selector: S;
  readonly timers: VirtualTimers;
  readonly records: { current: readonly ServiceRecord[] };
  /** Selects once. Returns the id of the node. */
  pick(options?: SelectOptions): string;
  /** Selects often. Returns how often each node was selected. */
  shares(count: number, options?: SelectOptions): Map<string, number>;
  /** Begins a call of the node. */
  begin(id: string): void;
  /** Ends a call that was begun. */
  end(id: string, error?: TenonError, latencyMs?: number, call?: { answer?: Code; deadline?: number }): void;
  /** Begins and ends calls. */
  call(id: string, count?: number, error?: TenonError, latencyMs?: number): void;
}

/** Makes a {@link Rig} with the selector that `make` constructs. */
export function rigOf<S extends Selector>(
  nodes: readonly (string | NodeRecord)[],
  make: (registry: Registry, runtime: ReturnType<typeof virtualRuntime>, random: Random) => S,
): Rig<S> {
  const runtime = virtualRuntime(1_000_000);
  const records = { current: [serviceOf('greeter', nodes)] as readonly ServiceRecord[] };
  const selector = make(registryOf(records), runtime, seededRandom());
  const pick = (options?: SelectOptions): string => (selector.select('greeter', options) as NextNode)().id;
  const begin = (id: string): void => selector.begin?.('greeter', nodeOf(id));
  const end: Rig<S>['end'] = (id, error, latencyMs, call) =>
    selector.mark('greeter', nodeOf(id), error, latencyMs, call);
  return {
    selector,
    timers: runtime.timers,
    records,
    pick,
    shares(count, options) {
      const shares = new Map<string, number>();
      for (let call = 0; call < count; call += 1) {
        const id = pick(options);
        shares.set(id, (shares.get(id) ?? 0) + 1);
      }
      return shares;
    },
    begin,
    end,
    call(id, count = 1, error, latencyMs) {
      for (let made = 0; made < count; made += 1) {
        begin(id);
        end(id, error, latencyMs);
      }
    },
  };
}

/** The ids `n1`, `n2` … of so many nodes, ordered by id. */
export function ids(count: number): string[] {
  const digits = String(count).length;
  return Array.from({ length: count }, (_, index) => `n${String(index + 1).padStart(digits, '0')}`);
}
