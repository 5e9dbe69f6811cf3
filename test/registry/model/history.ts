import { nodeKey } from '../../../src/registry/kit/node-table.ts';
import type { RegistryEvent, ServiceRecord } from '../../../src/registry/registry.ts';

/** A state of a node: its record, or `undefined` while it is not registered. */
export type State = ServiceRecord | undefined;

interface Entry {
  readonly text: string;
  readonly fromMs: number;
  /** Infinite while it is so. */
  untilMs: number;
}

const absent = 'absent';

/** A record as text, whatever the order of its fields. */
export function textOf(state: State): string {
  if (!state) return absent;
  const { name, version, metadata, endpoints, nodes } = state;
  const sorted = (map: Readonly<Record<string, string>>): unknown => Object.entries(map).map(String).sort();
  const parts = nodes.map((node) => [node.id, node.address, sorted(node.metadata)]);
  return JSON.stringify([name, version, sorted(metadata), endpoints.map((one) => one.name), parts]);
}

/** All that was ever so, of every node; on real servers also what may have been so. */
export class History {
  readonly #nowMs: () => number;
  readonly #entries = new Map<string, Entry[]>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  note(service: string, id: string, state: State): void {
    const key = nodeKey(service, id);
    const entries = this.#of(key);
    const now = this.#nowMs();
    entries.at(-1)!.untilMs = now;
    entries.push({ text: textOf(state), fromMs: now, untilMs: Number.POSITIVE_INFINITY });
    this.#entries.set(key, entries);
  }

  /** The states of a node that were so between two times, in order. */
  between(service: string, id: string, fromMs: number, untilMs = Number.POSITIVE_INFINITY): readonly string[] {
    return this.#of(nodeKey(service, id))
      .filter((entry) => entry.untilMs >= fromMs && entry.fromMs <= untilMs)
      .map(({ text }) => text);
  }

  now(service: string, id: string): string {
    return this.#of(nodeKey(service, id)).at(-1)!.text;
  }

  /** The nodes that there are now, as texts. */
  truth(service: string): readonly string[] {
    return [...this.#entries]
      .filter(([key]) => key.startsWith(nodeKey(service, '')))
      .map(([, entries]) => entries.at(-1)!.text)
      .filter((text) => text !== absent)
      .sort();
  }

  /** The keys of all nodes that there ever were. */
  get keys(): readonly (readonly [service: string, id: string])[] {
    return [...this.#entries.keys()].map((key) => key.split('\n') as [string, string]);
  }

  #of(key: string): Entry[] {
    return this.#entries.get(key) ?? [{ text: absent, fromMs: 0, untilMs: Number.POSITIVE_INFINITY }];
  }
}

/** Checks what one watch reports against what was so since it was asked for. */
export class WatchCheck {
  readonly #history: History;
  readonly #askedAtMs: number;
  /** The states of each node that events have reported, and the place of the last one in its history. */
  readonly #known = new Map<string, { readonly text: string; readonly place: number }>();
  #establishedAtMs = Number.POSITIVE_INFINITY;

  constructor(history: History, askedAtMs: number) {
    this.#history = history;
    this.#askedAtMs = askedAtMs;
  }

  established(nowMs: number): void {
    this.#establishedAtMs = nowMs;
  }

  /** Throws for an event that says what was not so, or what was said already. */
  take({ action, service }: RegistryEvent): void {
    const ids = service.nodes.map(({ id }) => id);
    if (new Set(ids).size !== ids.length) throw new Error(`an event has a node twice: ${ids.join(' ')}`);
    for (const node of service.nodes) this.#takeNode(action, { ...service, nodes: [node] }, node.id);
  }

  /** Throws unless the last event of each node says what is so, and a node without an event is what it was. */
  assertUpToDate(isWatched: (service: string) => boolean): void {
    for (const [service, id] of this.#history.keys) {
      if (!isWatched(service)) continue;
      const now = this.#history.now(service, id);
      const known = this.#known.get(nodeKey(service, id));
      const possible = known
        ? [known.text]
        : this.#history.between(service, id, this.#askedAtMs, this.#establishedAtMs);
      if (!possible.includes(now))
        throw new Error(`${id} of ${service} is ${now}, and the watch has it as ${possible.join(' or ')}`);
    }
  }

  #takeNode(action: RegistryEvent['action'], record: ServiceRecord, id: string): void {
    const key = nodeKey(record.name, id);
    const text = action === 'delete' ? absent : textOf(record);
    const known = this.#known.get(key);
    const wrong = (why: string): Error => new Error(`${action} of ${id} in ${record.name} ${why}: ${textOf(record)}`);
    if (known && action === 'create' && known.text !== absent) throw wrong('is told of a node that is known');
    if (known && action !== 'create' && known.text === absent) throw wrong('is told of a node that is gone');
    if (known?.text === text) throw wrong('is told twice');
    const states = this.#history.between(record.name, id, this.#askedAtMs);
    const place = states.indexOf(text, known ? known.place + 1 : 0);
    if (place < 0) throw wrong('says what was not so since the last event');
    this.#known.set(key, { text, place });
  }
}
