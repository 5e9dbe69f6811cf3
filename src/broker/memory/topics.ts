import type { Logger } from '../../logger/logger.ts';
import type { Timers } from '../../runtime/runtime.ts';
import type { EventHeaders } from '../broker.ts';
import type { EventSink, IncomingEvent } from '../kit/driver.ts';
import { TopicPattern } from '../kit/wildcards.ts';

/** An event that a group stores. */
export interface StoredEvent {
  /** The position among all events. */
  readonly sequence: number;
  readonly topic: string;
  readonly headers: EventHeaders;
  readonly body: Uint8Array;
  readonly orderKey: string | undefined;
  attempt: number;
}

/** A stored event that was delivered to a member, with a body of its own. */
export class DeliveredEvent implements IncomingEvent {
  readonly entry: StoredEvent;
  readonly topic: string;
  readonly headers: EventHeaders;
  readonly body: Uint8Array;
  readonly attempt: number;

  constructor(entry: StoredEvent) {
    this.entry = entry;
    this.topic = entry.topic;
    this.headers = entry.headers;
    this.body = Buffer.from(entry.body);
    this.attempt = entry.attempt;
  }

  get id(): string {
    return String(this.entry.sequence);
  }
}

/** A member of a group. */
export type Member = EventSink<DeliveredEvent>;

/** The parts that all topics of a hub share. */
export interface TopicSetup {
  readonly timers: Timers;
  readonly logger: Logger;
  readonly maxQueued: number;
}

/** A `publish` that waits for room. */
export interface WaitingPublish {
  readonly stored: Promise<void>;
  /** Withdraws it. True if the event was not stored. */
  withdraw(): boolean;
}

/** The topics of a hub, and the patterns of topics, by name. */
export class Topics {
  readonly #topics = new Map<string, Topic>();
  readonly #patterns = new Map<string, TopicPattern>();
  readonly #setup: TopicSetup;
  readonly #whenChanged: (() => void)[] = [];
  #sequence = 0;

  constructor(setup: TopicSetup) {
    this.#setup = setup;
  }

  /** Stores an event for the subscribers of its topic. Returns a waiting publish if a group has no room. */
  publish(name: string, headers: EventHeaders, body: Uint8Array, orderKey?: string): WaitingPublish | undefined {
    const topic = this.#topics.get(name);
    if (!topic && this.#patterns.size === 0) return undefined;
    this.#sequence += 1;
    const entry: StoredEvent = { sequence: this.#sequence, topic: name, headers, body, orderKey, attempt: 0 };
    if (this.#patterns.size === 0) return topic?.publish(entry);
    const receiving = topic ? [topic] : [];
    for (const [text, pattern] of this.#patterns)
      if (pattern.matches(name)) receiving.push(this.#topics.get(text) as Topic);
    return publishToAll(receiving, entry);
  }

  /** Returns the topic of a name, or of a pattern, and creates it if there is none. */
  open(name: string): Topic {
    let topic = this.#topics.get(name);
    if (!topic) {
      topic = new Topic(name, this.#setup, this.#onChange);
      this.#topics.set(name, topic);
      const pattern = TopicPattern.of(name);
      if (pattern) this.#patterns.set(name, pattern);
    }
    return topic;
  }

  /** Resolves when no event waits for a member of its group, or is in flight. */
  async settled(): Promise<void> {
    while (!this.#isSettled) {
      await new Promise<void>((resolve) => {
        this.#whenChanged.push(resolve);
      });
    }
  }

  get #isSettled(): boolean {
    for (const topic of this.#topics.values()) if (!topic.isSettled) return false;
    return true;
  }

  readonly #onChange = (): void => {
    if (this.#whenChanged.length === 0) return;
    for (const resolve of this.#whenChanged.splice(0)) resolve();
  };

  /** Removes a topic without groups, watchers and waiting publishers. */
  prune(name: string): void {
    if (!this.#topics.get(name)?.isEmpty) return;
    this.#topics.delete(name);
    this.#patterns.delete(name);
  }
}

function publishToAll(topics: readonly Topic[], entry: StoredEvent): WaitingPublish | undefined {
  const waiting = topics.map((topic) => topic.publish(entry)).filter((one) => one !== undefined);
  if (waiting.length === 0) return undefined;
  return {
    stored: Promise.all(waiting.map(({ stored }) => stored)).then(() => undefined),
    withdraw() {
      const withdrawn = waiting.filter((one) => one.withdraw());
      return withdrawn.length === topics.length;
    },
  };
}

/** One topic with its groups, watchers and waiting publishers. */
export class Topic {
  readonly watchers = new Set<(entry: StoredEvent) => void>();
  readonly #name: string;
  readonly #setup: TopicSetup;
  readonly #groups = new Set<Group>();
  readonly #queues = new Map<string, Group>();
  readonly #waiting = new Set<() => void>();
  readonly #onChange: () => void;

  /** @param onChange called when an event was settled, or a member has left */
  constructor(name: string, setup: TopicSetup, onChange: () => void) {
    this.#name = name;
    this.#setup = setup;
    this.#onChange = onChange;
  }

  /** True if no event waits for a member, or is in flight. */
  get isSettled(): boolean {
    for (const group of this.#groups) if (!group.isSettled) return false;
    return this.#waiting.size === 0;
  }

  get isEmpty(): boolean {
    return this.#groups.size + this.watchers.size + this.#waiting.size === 0;
  }

  /** Returns the group of a name, and creates it if there is none; without a name a new group for one member. */
  group(queue: string | undefined): Group {
    let group = queue === undefined ? undefined : this.#queues.get(queue);
    if (!group) {
      const of = queue === undefined ? '' : ` of the queue ${queue}`;
      group = new Group(`${this.#name}${of}`, this.#setup, () => this.#admit(), this.#onChange);
      this.#groups.add(group);
      if (queue !== undefined) this.#queues.set(queue, group);
    }
    return group;
  }

  /** Removes a member. A named group without members stays, and stores events. */
  leave(group: Group, member: Member): void {
    group.leave(member);
    if (![...this.#queues.values()].includes(group)) this.#groups.delete(group);
    this.#admit();
    this.#onChange();
  }

  /** Stores an event. Returns a waiting publish if a group has no room. */
  publish(entry: StoredEvent): WaitingPublish | undefined {
    // Earlier publishers go first.
    if (this.#waiting.size === 0 && this.#hasRoom()) {
      this.#store(entry);
      return undefined;
    }
    let admit = (): void => {};
    const stored = new Promise<void>((resolve) => {
      admit = () => {
        this.#store(entry);
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

  #store(entry: StoredEvent): void {
    for (const group of this.#groups) group.add({ ...entry });
    for (const see of this.watchers) see(entry);
  }
}

// In one turn of the event loop: subscribers that publish to their own topic must not keep the process from its I/O.
const maxDeliveriesPerTurn = 256;

/** A consumer group with its members and undelivered events. */
export class Group {
  readonly #name: string;
  readonly #setup: TopicSetup;
  readonly #onRoom: () => void;
  readonly #onSettled: () => void;
  readonly #members: Member[] = [];
  /** New events in the order of publishing; those before `#head` were delivered. */
  #ready: StoredEvent[] = [];
  #head = 0;
  /** Events that were delivered and returned, in the order of publishing. They are delivered before new ones. */
  readonly #returned: StoredEvent[] = [];
  /** The member with unsettled events of a key. It gets the key's next events too, as order would be lost otherwise. */
  readonly #keyOwners = new Map<string, { readonly member: Member; count: number }>();
  readonly #holders = new Map<StoredEvent, Member>();
  /** The number of events that were delivered and are not settled. */
  #unsettled = 0;
  /** The number of nacked events whose delay has not passed. */
  #delayed = 0;
  #next = 0;
  #isScheduled = false;
  #isDropping = false;

  constructor(name: string, setup: TopicSetup, onRoom: () => void, onSettled: () => void) {
    this.#name = name;
    this.#setup = setup;
    this.#onRoom = onRoom;
    this.#onSettled = onSettled;
  }

  /** True if no event waits for a member, or is in flight. Without members events are stored, and nobody waits. */
  get isSettled(): boolean {
    return this.#unsettled === 0 && (this.#members.length === 0 || this.#size === 0);
  }

  get #size(): number {
    return this.#waiting + this.#delayed;
  }

  /** The number of events that could be delivered now. */
  get #waiting(): number {
    return this.#ready.length - this.#head + this.#returned.length;
  }

  /** True if publishers have to wait: the group is at its limit, and has members that can catch up. */
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

  add(entry: StoredEvent): void {
    if (this.#size >= this.#setup.maxQueued) this.#dropOldest();
    else this.#isDropping = false;
    this.#ready.push(entry);
    this.schedule();
  }

  ack({ entry }: DeliveredEvent): void {
    this.#release(entry);
    this.#onSettled();
  }

  nack({ entry }: DeliveredEvent, delayMs: number): void {
    this.#release(entry);
    this.#delayed += 1;
    const again = (): void => {
      this.#delayed -= 1;
      this.#return(entry);
    };
    // Never in this turn: a receiver that nacks each event at once would block the event loop.
    if (delayMs > 0) this.#setup.timers.after(delayMs, again);
    else this.#setup.timers.soon(again);
  }

  release(events: readonly DeliveredEvent[]): void {
    for (const { entry } of events) {
      this.#release(entry);
      this.#return(entry);
    }
  }

  /** Schedules deliveries in another turn of the event loop. */
  schedule(): void {
    if (this.#isScheduled || this.#members.length === 0 || this.#waiting === 0) return;
    this.#isScheduled = true;
    this.#setup.timers.soon(() => {
      this.#isScheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    for (let count = 0; count < maxDeliveriesPerTurn; count += 1) {
      const entry = this.#returned[0] ?? this.#ready[this.#head];
      const member = entry && this.#memberFor(entry);
      if (!member) {
        this.#onRoom();
        return;
      }
      this.#shift();
      this.#hold(entry, member);
      entry.attempt += 1;
      this.#unsettled += 1;
      member.deliver(new DeliveredEvent(entry));
    }
    this.#onRoom();
    this.schedule();
  }

  /** Returns the member that gets an event: the holder of its key, or the next one with demand. */
  #memberFor(entry: StoredEvent): Member | undefined {
    const holder = entry.orderKey === undefined ? undefined : this.#keyOwners.get(entry.orderKey)?.member;
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

  #return(entry: StoredEvent): void {
    let index = this.#returned.length;
    while (index > 0 && (this.#returned[index - 1]?.sequence ?? 0) > entry.sequence) index -= 1;
    this.#returned.splice(index, 0, entry);
    this.schedule();
  }

  #hold(entry: StoredEvent, member: Member): void {
    if (entry.orderKey === undefined) return;
    this.#holders.set(entry, member);
    const held = this.#keyOwners.get(entry.orderKey);
    if (held) held.count += 1;
    else this.#keyOwners.set(entry.orderKey, { member, count: 1 });
  }

  #release(entry: StoredEvent): void {
    this.#unsettled -= 1;
    if (entry.orderKey === undefined || !this.#holders.delete(entry)) return;
    const held = this.#keyOwners.get(entry.orderKey);
    if (held && (held.count -= 1) === 0) this.#keyOwners.delete(entry.orderKey);
  }

  #dropOldest(): void {
    if (this.#waiting === 0) return;
    this.#shift();
    if (this.#isDropping) return;
    this.#isDropping = true;
    this.#setup.logger.warn('events are dropped: the group has no members, and is at its limit of stored events', {
      topic: this.#name,
      kept: this.#setup.maxQueued,
    });
  }
}
