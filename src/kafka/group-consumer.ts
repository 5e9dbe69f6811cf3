import type { Logger } from '../logger/logger.ts';
import { endsWithin, pause } from '../runtime/bounded.ts';
import type { Timers } from '../runtime/runtime.ts';
import type { KafkaCluster } from './cluster.ts';
import { GroupMembership } from './group-membership.ts';
import type { CommittedOffset } from './kafka.ts';
import type { PartitionFetcher } from './partition-fetcher.ts';
import { PartitionWindow } from './partition-window.ts';

/** The parts of a {@link GroupConsumer}. */
export interface GroupConsumerInit {
  readonly cluster: KafkaCluster;
  readonly fetcher: PartitionFetcher;
  readonly group: string;
  readonly topic: string;
  /** Where a new group begins. */
  readonly from: 'start' | 'now';
  readonly sessionTimeoutMs: number;
  /** Longest wait for the events in hand of a partition that goes to another member. */
  readonly revokeWaitMs: number;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Called when all partitions were lost: what is in hand goes to others. Returns how many events that are. */
  readonly onLost: () => number;
}

const retryMs = 200;
// Most members end sooner, and leave: a rebalance before that would hold them up.
const drainAfterMs = 1_000;
// Members often come one after another, and each waits for the heartbeats of those that are there.
const oftenMs = 150;
const oftenAfterJoin = 20;

/**
 * A member of a consumer group: has the partitions read that the group gives it, and commits how far it is. A partition
 * that goes to another member is given up once its events are settled; all others go on meanwhile.
 */
export class GroupConsumer {
  readonly #init: GroupConsumerInit;
  readonly #membership: GroupMembership;
  /** The commit that is made once the one under way has ended. */
  #next: Promise<void> | undefined;
  #current: Promise<void> = Promise.resolve();
  /** The partitions that are being given up. */
  readonly #leaving = new Set<PartitionWindow>();
  readonly #ending = new AbortController();
  #isDraining = false;
  /** True once it has committed: the group is not new. */
  #hasBegun = false;
  /** The number of heartbeats that are still sent soon after one another. */
  #oftenLeft = 0;

  constructor(init: GroupConsumerInit) {
    const { fetcher } = init;
    this.#init = init;
    this.#membership = new GroupMembership({
      ...init,
      owned: () => [...fetcher.windows.keys()],
      onAssigned: (partitions) => this.#onAssigned(partitions),
      onLost: () => this.#onLost(),
    });
  }

  /** Joins the group. Resolves when it has its partitions. */
  async join(): Promise<void> {
    if (this.#init.fetcher.mayBeAnew) await this.#dropForgotten();
    await this.#membership.join();
  }

  heartbeat(): Promise<void> {
    return this.#membership.heartbeat();
  }

  /** Commits. What changes while a commit is under way is committed by the next one. */
  commit(): Promise<void> {
    this.#next ??= this.#current
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        this.#current = this.#commit();
        return this.#current;
      });
    return this.#next;
  }

  /** Gives up its partitions: those of which nothing is in hand soon, the others as their events are settled. */
  async drain(): Promise<void> {
    const { timers, fetcher, logger, topic, group } = this.#init;
    const { signal } = this.#ending;
    await pause(timers, drainAfterMs, signal);
    if (signal.aborted || this.#isDraining) return;
    this.#isDraining = true;
    // The server forgets what was committed long ago of topics that no member subscribes to.
    for (const window of fetcher.windows.values()) window.isDirty = true;
    await this.#membership.drain().catch((error: unknown) => {
      // The next heartbeat joins again.
      logger.debug('a member could not give up its partitions; it is tried again', { topic, group, error });
    });
  }

  /** Commits a last time, and leaves the group. */
  async leave(): Promise<void> {
    this.#ending.abort();
    await this.#membership.end();
    try {
      await this.commit();
    } finally {
      await this.#membership.leave();
    }
  }

  async #commit(): Promise<void> {
    const { windows } = this.#init.fetcher;
    const changed = (): PartitionWindow[] => [...windows.values()].filter(({ isDirty }) => isDirty);
    // Of a topic that may be another one nothing is committed.
    if (this.#init.fetcher.mayBeAnew || changed().length === 0) return;
    let sent: readonly PartitionWindow[] = [];
    try {
      await this.#membership.commit(() => {
        sent = changed();
        for (const window of sent) window.isDirty = false;
        return new Map(sent.map((window): [number, CommittedOffset] => [window.partition, window.committable]));
      });
      this.#hasBegun = true;
    } catch (error) {
      for (const window of sent) window.isDirty = true;
      throw error;
    }
  }

  /** Gives up the partitions whose positions the server has forgotten, as it does when their topic is deleted. */
  async #dropForgotten(): Promise<void> {
    const { fetcher } = this.#init;
    const held = [...fetcher.windows.values()];
    const all = await this.#membership.committed(fetcher.partitions);
    fetcher.lose(...held.filter(({ partition }) => (all.get(partition)?.offset ?? -1) < 0));
    fetcher.mayBeAnew = false;
  }

  async #onAssigned(partitions: readonly number[]): Promise<void> {
    const { fetcher, from } = this.#init;
    const { windows } = fetcher;
    for (const window of windows.values()) {
      window.isLeaving = !partitions.includes(window.partition);
      if (window.isLeaving && !this.#leaving.has(window)) void this.#handOver(window);
    }
    const added = partitions.filter((partition) => !windows.has(partition));
    if (added.length > 0) {
      if (added.some((partition) => !fetcher.partitions.includes(partition))) await fetcher.refresh();
      const all = await this.#membership.committed(fetcher.partitions);
      // A partition that was added to a topic later is read from its beginning.
      const isNewGroup = !this.#hasBegun && ![...all.values()].some(({ offset }) => offset >= 0);
      const unread = added.filter((partition) => (all.get(partition)?.offset ?? -1) < 0);
      const starts = await fetcher.offsets(unread, isNewGroup && from === 'now' ? 'end' : 'start');
      for (const partition of added) {
        // One without a leader is read from its beginning once it has one.
        const committed = unread.includes(partition) ? undefined : all.get(partition);
        windows.set(partition, new PartitionWindow(partition, starts.get(partition) ?? 0, committed));
      }
    }
    fetcher.read();
    const isOften = this.#oftenLeft > 0;
    this.#oftenLeft = oftenAfterJoin;
    if (!isOften) void this.#heartbeatOften();
  }

  async #heartbeatOften(): Promise<void> {
    const { signal } = this.#ending;
    for (; this.#oftenLeft > 0; this.#oftenLeft -= 1) {
      await pause(this.#init.timers, oftenMs, signal);
      if (signal.aborted) return;
      // One that fails is reported by the next of the regular ones.
      await this.heartbeat().catch(() => undefined);
    }
  }

  async #handOver(window: PartitionWindow): Promise<void> {
    const { timers, revokeWaitMs, logger, topic, group } = this.#init;
    const fields = { topic, group, partition: window.partition };
    this.#leaving.add(window);
    const idle = new Promise<void>((resolve) => (window.onIdle = resolve));
    // Its end waits for its handlers, however long they take.
    const timeoutMs = this.#isDraining ? Number.POSITIVE_INFINITY : revokeWaitMs;
    if (window.running > 0 && !(await endsWithin(idle, { timers, timeoutMs, keepAlive: false })))
      logger.warn('a partition goes to another member while its events are in hand: they come again there', fields);
    const { signal } = this.#ending;
    // Several are given up by one rebalance; none, if its end comes now.
    if (this.#isDraining) await pause(timers, drainAfterMs, signal);
    while (window.isLeaving && !window.isLost && !signal.aborted) {
      try {
        await this.#giveUp(window);
      } catch (error) {
        logger.debug('a partition could not be given up; it is tried again', { ...fields, error });
        await pause(timers, retryMs, signal);
      }
    }
    this.#leaving.delete(window);
  }

  async #giveUp(window: PartitionWindow): Promise<void> {
    await this.commit();
    if (!window.isLeaving || window.isLost) return;
    this.#init.fetcher.lose(window);
    await this.#membership.join();
  }

  #onLost(): void {
    const { fetcher, logger, topic, group, onLost } = this.#init;
    const { windows } = fetcher;
    if (windows.size === 0) return;
    fetcher.lose(...windows.values());
    const fields = { topic, group, inHand: onLost() };
    logger.warn('a member of a group was taken for dead: its events in hand go to others', fields);
  }
}
