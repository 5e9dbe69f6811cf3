import type { Logger } from '../../logger/logger.ts';
import type { Timers } from '../../runtime/runtime.ts';
import type { EventHeaders } from '../broker.ts';
import type { EventSink, IncomingEvent } from '../kit/driver.ts';

/** An event as one group has it. */
export interface Entry {
  /** Position among the events of the topic. */
  readonly sequence: number;
  readonly headers: EventHeaders;
  readonly body: Uint8Array;
  readonly orderKey: string | undefined;
  attempt: number;
}

/** An event as a member has it in hand: the body is its own. */
export class Handed implements IncomingEvent {
  readonly entry: Entry;
  readonly headers: EventHeaders;
  readonly body: Uint8Array;
  readonly attempt: number;

  constructor(entry: Entry) {
    this.entry = entry;
    this.headers = entry.headers;
    this.body = new Uint8Array(entry.body);
    this.attempt = entry.attempt;
  }

  get id(): string {
    return String(this.entry.sequence);
  }
}

/** A member of a group. */
export type Member = EventSink<Handed>;

/** The parts of topics. */
export interface TopicSetup {
  readonly timers: Timers;
  readonly logger: Logger;
  readonly maxQueued: number;
}

/** A publish that waits for room. */
export interface WaitingPublish {
  readonly stored: Promise<void>;
  /** Takes it back. True if it was not stored. */
  withdraw(): boolean;
}

/** The topics of a hub. */
export class Topics {
  readonly #topics = new Map<string, Topic>();
  readonly #setup: TopicSetup;

  constructor(setup: TopicSetup) {
    this.#setup = setup;
  }

  /** The topic, if anyone receives or has received from it. */
  find(name: string): Topic | undefined {
    return this.#topics.get(name);
  }

  open(name: string): Topic {
    let topic = this.#topics.get(name);
    if (!topic) {
      topic = new Topic(name, this.#setup);
      this.#topics.set(name, topic);
    }
    return topic;
  }

  /** Forgets the topic if nothing is left of it. */
  prune(name: string): void {
    if (this.#topics.get(name)?.isEmpty) this.#topics.delete(name);
  }
}

/** One topic: its groups, who watches, and who waits to publish. */
export class Topic {
  readonly watchers = new Set<(entry: Entry) => void>();
  readonly #name: string;
  readonly #setup: TopicSetup;
  readonly #groups = new Set<Group>();
  readonly #queues = new Map<string, Group>();
  readonly #waiting = new Set<() => void>();
  #sequence = 0;

  constructor(name: string, setup: TopicSetup) {
    this.#name = name;
    this.#setup = setup;
  }

  get isEmpty(): boolean {
    return this.#groups.size + this.watchers.size + this.#waiting.size === 0;
  }

  /** The group of that name, which exists from now on; without a name a group for one member alone. */
  group(queue: string | undefined): Group {
    let group = queue === undefined ? undefined : this.#queues.get(queue);
    if (!group) {
      group = new Group(`${this.#name}${queue === undefined ? '' : ` of the queue ${queue}`}`, this.#setup, () =>
        this.#admit(),
      );
      this.#groups.add(group);
      if (queue !== undefined) this.#queues.set(queue, group);
    }
    return group;
  }

  /** A named group goes on without its member, and keeps events. */
  leave(group: Group, member: Member): void {
    group.leave(member);
    if (![...this.#queues.values()].includes(group)) this.#groups.delete(group);
    this.#admit();
  }

  /** Stores the event, or returns what waits for room. */
  publish(headers: EventHeaders, body: Uint8Array, orderKey: string | undefined): WaitingPublish | undefined {
    // Those who wait already go first.
    if (this.#waiting.size === 0 && this.#hasRoom()) {
      this.#store(headers, body, orderKey);
      return undefined;
    }
    let admit = (): void => {};
    const stored = new Promise<void>((resolve) => {
      admit = () => {
        this.#store(headers, body, orderKey);
        resolve();
      };
      this.#waiting.add(admit);
    });
    return { stored, withdraw: () => this.#waiting.delete(admit) };
  }

  #hasRoom(): boolean {
    for (const group of this.#groups) if (group.isFull) return false;
    return true;
  }

  #admit(): void {
    for (const admit of this.#waiting) {
      if (!this.#hasRoom()) return;
      this.#waiting.delete(admit);
      admit();
    }
  }

  #store(headers: EventHeaders, body: Uint8Array, orderKey: string | undefined): void {
    this.#sequence += 1;
    const entry: Entry = { sequence: this.#sequence, headers, body, orderKey, attempt: 0 };
    for (const group of this.#groups) group.add({ ...entry });
    for (const see of this.watchers) see(entry);
  }
}

// Between two turns of the event loop: subscribers that publish to their own topic must not keep the process from its
// I/O.
const handedAtOnce = 256;

/** Members of whom one gets each event, and the events that none has in hand. */
export class Group {
  readonly #name: string;
  readonly #setup: TopicSetup;
  readonly #onRoom: () => void;
  readonly #members: Member[] = [];
  /** In the order of publishing; taken from `#head` on. */
  #ready: Entry[] = [];
  #head = 0;
  /** Handed out before and returned; ordered, and older than anything ready. */
  readonly #returned: Entry[] = [];
  /** A member that has events of a key in hand gets the next ones of it too, or they could be handled out of order. */
  readonly #keyHolders = new Map<string, { readonly member: Member; count: number }>();
  readonly #holders = new Map<Entry, Member>();
  /** The number of events that wait for the delay that they were put back with. */
  #delayed = 0;
  #next = 0;
  #scheduled = false;
  #dropping = false;

  constructor(name: string, setup: TopicSetup, onRoom: () => void) {
    this.#name = name;
    this.#setup = setup;
    this.#onRoom = onRoom;
  }

  get #size(): number {
    return this.#waiting + this.#delayed;
  }

  /** The number of events that could be handed out now. */
  get #waiting(): number {
    return this.#ready.length - this.#head + this.#returned.length;
  }

  /** True if publishers have to wait: members who are there can catch up. */
  get isFull(): boolean {
    return this.#members.length > 0 && this.#size >= this.#setup.maxQueued;
  }

  join(member: Member): void {
    this.#members.push(member);
    this.schedule();
  }

  leave(member: Member): void {
    const index = this.#members.indexOf(member);
    if (index >= 0) this.#members.splice(index, 1);
  }

  add(entry: Entry): void {
    if (this.#size >= this.#setup.maxQueued) this.#dropOldest();
    else this.#dropping = false;
    this.#ready.push(entry);
    this.schedule();
  }

  ack({ entry }: Handed): void {
    this.#release(entry);
  }

  nack({ entry }: Handed, delayMs: number): void {
    this.#release(entry);
    this.#delayed += 1;
    const again = (): void => {
      this.#delayed -= 1;
      this.#return(entry);
    };
    // Never in this turn: a receiver that gives everything back at once would spin.
    if (delayMs > 0) this.#setup.timers.after(delayMs, again);
    else this.#setup.timers.soon(again);
  }

  release(events: readonly Handed[]): void {
    for (const { entry } of events) {
      this.#release(entry);
      this.#return(entry);
    }
  }

  /** Hands out what it can, in a turn of its own. */
  schedule(): void {
    if (this.#scheduled || this.#members.length === 0 || this.#waiting === 0) return;
    this.#scheduled = true;
    this.#setup.timers.soon(() => {
      this.#scheduled = false;
      this.#handOut();
    });
  }

  #handOut(): void {
    for (let count = 0; count < handedAtOnce; count += 1) {
      const entry = this.#returned[0] ?? this.#ready[this.#head];
      const member = entry && this.#memberFor(entry);
      if (!member) {
        this.#onRoom();
        return;
      }
      this.#shift();
      this.#hold(entry, member);
      entry.attempt += 1;
      member.deliver(new Handed(entry));
    }
    this.#onRoom();
    this.schedule();
  }

  /** Members take turns. */
  #memberFor(entry: Entry): Member | undefined {
    const holder = entry.orderKey === undefined ? undefined : this.#keyHolders.get(entry.orderKey)?.member;
    if (holder && !holder.isStopped) return holder.demand > 0 ? holder : undefined;
    for (let tried = 0; tried < this.#members.length; tried += 1) {
      this.#next = (this.#next + 1) % this.#members.length;
      const member = this.#members[this.#next];
      if (member && member.demand > 0) return member;
    }
    return undefined;
  }

  #shift(): void {
    if (this.#returned.length > 0) {
      this.#returned.shift();
      return;
    }
    this.#head += 1;
    // Compacting only when half is spent keeps the cost per event constant.
    if (this.#head > 64 && this.#head * 2 > this.#ready.length) {
      this.#ready = this.#ready.slice(this.#head);
      this.#head = 0;
    }
  }

  #return(entry: Entry): void {
    let index = this.#returned.length;
    while (index > 0 && (this.#returned[index - 1]?.sequence ?? 0) > entry.sequence) index -= 1;
    this.#returned.splice(index, 0, entry);
    this.schedule();
  }

  #hold(entry: Entry, member: Member): void {
    if (entry.orderKey === undefined) return;
    this.#holders.set(entry, member);
    const held = this.#keyHolders.get(entry.orderKey);
    if (held) held.count += 1;
    else this.#keyHolders.set(entry.orderKey, { member, count: 1 });
  }

  #release(entry: Entry): void {
    if (entry.orderKey === undefined || !this.#holders.delete(entry)) return;
    const held = this.#keyHolders.get(entry.orderKey);
    if (held && (held.count -= 1) === 0) this.#keyHolders.delete(entry.orderKey);
  }

  #dropOldest(): void {
    if (this.#waiting === 0) return;
    this.#shift();
    if (this.#dropping) return;
    this.#dropping = true;
    this.#setup.logger.warn('events are dropped: no member of the group is there, and it has as many as it keeps', {
      topic: this.#name,
      kept: this.#setup.maxQueued,
    });
  }
}
