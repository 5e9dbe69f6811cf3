import { endsWithin, pause } from '../runtime/bounded.ts';
import type { Timers } from '../runtime/runtime.ts';
import {
  assign,
  assignmentProtocol,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  type TopicPartitions,
} from './assignment.ts';
import type { KafkaCluster } from './cluster.ts';
import {
  type CommittedOffset,
  faults,
  type GroupMember,
  isFault,
  type Joined,
  type KafkaAddress,
  KafkaFault,
} from './kafka.ts';

/** The parts of a {@link GroupMembership}. */
export interface MembershipInit {
  readonly cluster: KafkaCluster;
  readonly timers: Timers;
  readonly group: string;
  readonly topic: string;
  readonly sessionTimeoutMs: number;
  /** The partitions that it has now. */
  readonly owned: () => readonly number[];
  /** Called with the partitions that it has from now on. Called again with others after each rebalance. */
  readonly onAssigned: (partitions: readonly number[]) => Promise<void>;
  /** Called when the group went on without this member: its partitions may have been given to others. */
  readonly onLost: () => void;
}

// Members join at once, whatever their handlers do: it is only that their heartbeats have to bring them the news.
const rebalanceTimeoutMs = 30_000;
const retryMs = 100;
const maxTries = 50;
const ofRebalance = [faults.rebalanceInProgress, faults.unknownMember, faults.illegalGeneration] as const;

/**
 * A member of a consumer group, which gets partitions of one topic. It keeps those that it has through rebalances, and
 * joins again whenever the group does.
 */
export class GroupMembership {
  readonly #init: MembershipInit;
  #memberId = '';
  #generation = -1;
  /** True if it has the partitions of its generation. */
  #isMember = false;
  #coordinator: KafkaAddress | undefined;
  #joining: Promise<void> | undefined;
  /** True if it gets no more partitions. */
  #isDraining = false;
  #hasEnded = false;

  constructor(init: MembershipInit) {
    this.#init = init;
  }

  /** Joins the group, or joins it again. Resolves when it has its partitions. */
  join(): Promise<void> {
    return (this.#joining ??= this.#joinUntilStable().finally(() => (this.#joining = undefined)));
  }

  /** Tells the group that it lives, and joins again if the group asks for it. */
  async heartbeat(): Promise<void> {
    if (this.#joining) return this.#joining;
    await this.#asMember((member) => this.#atCoordinator((connection) => connection.heartbeat(member)));
  }

  /** Commits positions. Does nothing for a member that has joined anew since they were reached. */
  async commit(offsets: () => ReadonlyMap<number, CommittedOffset>): Promise<void> {
    // A commit in the middle of a rebalance would be refused, or hold it up.
    while (this.#joining) await this.#joining;
    const { topic } = this.#init;
    await this.#asMember(async (member) => {
      const positions = offsets();
      if (positions.size > 0) await this.#atCoordinator((connection) => connection.commit(member, topic, positions));
    });
  }

  /** The positions of the group. */
  committed(partitions: readonly number[]): Promise<ReadonlyMap<number, CommittedOffset>> {
    const { group, topic } = this.#init;
    return this.#atCoordinator((connection) => connection.committed(group, topic, partitions));
  }

  /** Joins again as a member that gets no partitions, and has those that it owns until it gives them up. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    // That which is under way may have asked for partitions.
    await this.#joining?.catch(() => undefined);
    await this.join();
  }

  /** Joins no more. What was reached can still be committed. */
  async end(): Promise<void> {
    this.#hasEnded = true;
    const { timers, sessionTimeoutMs: timeoutMs } = this.#init;
    // The others may wait for one that is dead.
    await endsWithin(this.#joining ?? Promise.resolve(), { timers, timeoutMs }).catch(() => undefined);
  }

  /** Leaves the group, so that others get its partitions at once. */
  async leave(): Promise<void> {
    if (this.#memberId !== '') await this.#atCoordinator((connection) => connection.leave(this.#member));
  }

  get #member(): GroupMember {
    return { group: this.#init.group, memberId: this.#memberId, generation: this.#generation };
  }

  /**
   * Makes a call as a member of the present generation, again after each rebalance. If the group went on without this
   * member, joins anew and rejects.
   */
  async #asMember(call: (member: GroupMember) => Promise<void>): Promise<void> {
    for (let tried = 1; ; tried += 1) {
      if (!this.#isMember && !this.#hasEnded) await this.join();
      const member = this.#member;
      try {
        return await call(member);
      } catch (error) {
        if (this.#hasEnded || tried >= maxTries || !isFault(error, ...ofRebalance)) throw error;
        const isOver = !isFault(error, faults.rebalanceInProgress);
        // It may have joined meanwhile.
        if (isOver && this.#generation !== member.generation) continue;
        if (isOver) this.#lose();
        await this.join();
        if (isOver) throw error;
      }
    }
  }

  #lose(): void {
    this.#memberId = '';
    this.#generation = -1;
    this.#isMember = false;
    this.#init.onLost();
  }

  async #joinUntilStable(): Promise<void> {
    for (let tried = 1; !this.#hasEnded; tried += 1) {
      try {
        if (await this.#joinOnce()) return;
        tried = 0;
      } catch (error) {
        if (isFault(error, faults.unknownMember, faults.illegalGeneration)) this.#lose();
        else if (!isFault(error, faults.rebalanceInProgress) && !(error instanceof KafkaFault && error.isPassing))
          throw error;
        if (tried >= maxTries) throw error;
        // A coordinator that has just started loads its groups.
        await pause(this.#init.timers, retryMs, undefined, { keepAlive: true });
      }
    }
  }

  /** Joins once. False if a partition was given up meanwhile: the group has to be told, or nobody gets it. */
  async #joinOnce(): Promise<boolean> {
    const { group, topic, sessionTimeoutMs, owned, onAssigned } = this.#init;
    const declared = owned();
    const topics = this.#isDraining ? [] : [topic];
    const metadata = encodeSubscription({ topics, owned: new Map([[topic, declared]]) });
    const protocol = assignmentProtocol;
    this.#isMember = false;
    const request = { group, memberId: this.#memberId, sessionTimeoutMs, rebalanceTimeoutMs, protocol, metadata };
    const joined = await this.#atCoordinator((connection) => connection.join(request), rebalanceTimeoutMs);
    this.#memberId = joined.memberId;
    this.#generation = joined.generation;
    const assignments = await this.#assign(joined);
    const own = await this.#atCoordinator(
      (connection) => connection.sync(this.#member, assignments),
      rebalanceTimeoutMs,
    );
    await onAssigned(decodeAssignment(own).get(topic) ?? []);
    this.#isMember = true;
    const kept = owned();
    return declared.every((partition) => kept.includes(partition));
  }

  /** Assigns the partitions, if it is the one that does. */
  async #assign({ members }: Joined): Promise<ReadonlyMap<string, Buffer>> {
    const subscriptions = new Map(members.map(({ memberId, metadata }) => [memberId, decodeSubscription(metadata)]));
    const topics = new Set(Array.from(subscriptions.values()).flatMap((one) => one.topics));
    const counts = new Map<string, number>();
    for (const topic of topics) counts.set(topic, await this.#partitionsOf(topic));
    const assigned: ReadonlyMap<string, TopicPartitions> = assign(subscriptions, counts);
    return new Map(Array.from(assigned, ([id, partitions]) => [id, encodeAssignment(partitions)]));
  }

  async #partitionsOf(topic: string): Promise<number> {
    try {
      return (await this.#init.cluster.call((connection) => connection.leaders(topic))).size;
    } catch (error) {
      const isOwn = topic === this.#init.topic;
      // Another member may subscribe to a topic that was deleted, or that this one may not see.
      if (!isOwn && isFault(error, faults.unknownTopic, faults.topicDenied)) return 0;
      // Its own will be made again.
      if (isFault(error, faults.unknownTopic)) throw new KafkaFault(faults.leaderNotAvailable, error.message);
      throw error;
    }
  }

  async #atCoordinator<T>(work: Parameters<typeof KafkaCluster.prototype.call<T>>[0], waitMs?: number): Promise<T> {
    const { cluster, group } = this.#init;
    try {
      this.#coordinator ??= await cluster.call((connection) => connection.coordinator(group));
      return await cluster.call(work, { at: this.#coordinator, waitMs });
    } catch (error) {
      if (!(error instanceof KafkaFault) || error.isPassing) this.#coordinator = undefined;
      throw error;
    }
  }
}
