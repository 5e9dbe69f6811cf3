import type { Answer, Packet } from 'dns-packet';

import { pause } from '../runtime/bounded.ts';
import type { Clock, Random, Timers } from '../runtime/runtime.ts';
import { dataOf, nameQuestion } from './records.ts';
import type { MdnsSockets } from './sockets.ts';

/** A node with the name of its records, which nobody else may have. */
export interface NamedNode {
  instance: string;
  records: readonly Answer[];
  /** True while the name is claimed again, because another host announced it. */
  isContested?: boolean;
}

/** The parts of {@link NameClaims}. */
export interface NameClaimsOptions<Node> {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly sockets: Pick<MdnsSockets, 'query'>;
  /** Time between two probes, in milliseconds. */
  readonly probeMs: number;
  /** Gives a node another name, as somebody has its own. */
  rename(node: Node): void;
  /** Called when a node that was announced has a name again, its own or another one. */
  onReclaimed(node: Node): void;
}

interface Claim {
  /** All data that this process has had under the name: packets of its own come back to it. */
  readonly data: Set<string>;
  /**
   * The result of the probes: another host has the name, or wants it and goes first; or it is `ours`, as somebody has
   * it with the same records, whose place this process takes.
   */
  outcome: 'taken' | 'later' | 'ours' | undefined;
  /** Ends the wait between probes, once there is a result. */
  decided: AbortController;
  /** True until the node has a name. */
  isPending: boolean;
  contestedAtMs: number;
}

// RFC 6762 section 8.1: three probes; after 15 names that are taken, one attempt in 5 seconds.
const probes = 3;
const maxQuickAttempts = 15;
const slowAttemptMs = 5_000;
// RFC 6762 section 8.2: who goes second waits a second.
const waitMs = 1_000;
// A host that announces the name of another again and again must not keep it busy with probes.
const contestIntervalMs = 10_000;
// Records of one name whose packets may still come back.
const maxRemembered = 64;

/**
 * Claims names (RFC 6762 section 8): a host asks three times who has a name, with the records that it wants to announce
 * in the authority section. If another host answers, the node gets another name. If another host wants the name at the
 * same time, the one whose records come later in order has it. A name that is announced by another host later on is
 * claimed again (section 9).
 */
export class NameClaims<Node extends NamedNode> {
  readonly #options: NameClaimsOptions<Node>;
  readonly #claims = new Map<Node, Claim>();
  readonly #probing = new Set<Claim>();
  readonly #closing = new AbortController();

  constructor(options: NameClaimsOptions<Node>) {
    this.#options = options;
  }

  /** Resolves when the node has a name that nobody else has. */
  async claim(node: Node, signal: AbortSignal): Promise<void> {
    const { timers } = this.#options;
    const both = AbortSignal.any([signal, this.#closing.signal]);
    const claim: Claim = this.#claims.get(node) ?? {
      data: new Set(),
      outcome: undefined,
      decided: new AbortController(),
      isPending: true,
      contestedAtMs: Number.NEGATIVE_INFINITY,
    };
    claim.isPending = true;
    this.#claims.set(node, claim);
    try {
      for (let attempt = 1; ; attempt += 1) {
        const outcome = await this.#probe(node, claim, both);
        if (outcome === undefined || outcome === 'ours') return;
        if (outcome === 'taken') {
          this.#options.rename(node);
          claim.data.clear();
        }
        const pauseMs = attempt >= maxQuickAttempts ? slowAttemptMs : outcome === 'later' ? waitMs : 0;
        if (pauseMs > 0) await timers.sleep(pauseMs, both);
      }
    } catch (error) {
      if (node.isContested !== true) this.#claims.delete(node);
      throw error;
    } finally {
      claim.isPending = false;
    }
  }

  /** Remembers the data of a node that is about to be announced. */
  note(node: Node): void {
    const claim = this.#claims.get(node);
    if (!claim) return;
    for (const record of node.records) {
      const key = keyOf(record);
      if (key !== undefined) claim.data.add(key);
    }
    for (const key of claim.data) if (claim.data.size > maxRemembered) claim.data.delete(key);
  }

  /** Gives a name up. */
  release(node: Node): void {
    this.#claims.delete(node);
  }

  /** Looks for names of this process in the response of another host. */
  onResponse({ answers = [], additionals = [] }: Packet): void {
    for (const record of [...answers, ...additionals]) {
      if ((record.type !== 'SRV' && record.type !== 'TXT') || record.ttl === 0) continue;
      for (const [node, claim] of this.#claims) {
        if (!isNamed(record, node)) continue;
        const isSame = claim.data.has(keyOf(record) ?? '');
        // A name that is contested is not settled by packets of this process that come back.
        if (isSame && (node.isContested === true || !this.#isProbing(claim))) continue;
        if (this.#isProbing(claim)) decide(claim, isSame ? 'ours' : 'taken');
        else if (!claim.isPending) void this.#contest(node, claim);
      }
    }
  }

  /** Compares the records that another host wants to announce with those of names that are being claimed. */
  onQuery({ authorities = [] }: Packet): void {
    if (authorities.length === 0) return;
    for (const [node, claim] of this.#claims) {
      if (!this.#isProbing(claim) || claim.outcome !== undefined) continue;
      const theirs = inOrder(authorities.filter((record) => isNamed(record, node)));
      if (theirs.length > 0 && compared(inOrder(node.records), theirs) < 0) decide(claim, 'later');
    }
  }

  close(): void {
    this.#closing.abort();
    this.#claims.clear();
  }

  /** Sends the probes. Returns undefined if nobody objects. */
  async #probe(node: Node, claim: Claim, signal: AbortSignal): Promise<Claim['outcome']> {
    const { random, timers, sockets, probeMs } = this.#options;
    claim.outcome = undefined;
    claim.decided = new AbortController();
    const woken = AbortSignal.any([signal, claim.decided.signal]);
    this.note(node);
    this.#probing.add(claim);
    try {
      await timers.sleep(random.next() * probeMs, signal);
      for (let sent = 0; sent < probes && claim.outcome === undefined; sent += 1) {
        const authorities = node.records.filter((record) => dataOf(record) !== undefined);
        // Go Micro asks for PTR, to which nobody has an answer.
        await sockets.query({ questions: [nameQuestion(node.instance)], authorities });
        await pause(timers, probeMs, woken, { keepAlive: true });
        signal.throwIfAborted();
      }
      return claim.outcome;
    } finally {
      this.#probing.delete(claim);
    }
  }

  #isProbing(claim: Claim): boolean {
    return this.#probing.has(claim);
  }

  /** Claims the name of an announced node again. Never rejects. */
  async #contest(node: Node, claim: Claim): Promise<void> {
    const now = this.#options.clock.monotonicMs();
    if (now - claim.contestedAtMs < contestIntervalMs) return;
    claim.contestedAtMs = now;
    node.isContested = true;
    try {
      await this.claim(node, this.#closing.signal);
      if (this.#claims.has(node)) this.#options.onReclaimed(node);
    } catch {
      // Closed, or no interface is left: the node keeps its name.
    }
    node.isContested = false;
  }
}

/** Notes the result of probes. That another host has the name counts more than what was heard before. */
function decide(claim: Claim, outcome: NonNullable<Claim['outcome']>): void {
  if (claim.outcome === undefined || outcome === 'taken') claim.outcome = outcome;
  claim.decided.abort();
}

/** A SRV or TXT record without its name, as a key. */
function keyOf(record: Answer): string | undefined {
  const data = dataOf(record);
  return data && `${record.type}\n${data.toString('latin1')}`;
}

function isNamed(record: Answer, { instance }: NamedNode): boolean {
  return record.name.length === instance.length && record.name.toLowerCase() === instance.toLowerCase();
}

/** The data of records in the order in which they are compared: by type, TXT (16) before SRV (33), then by data. */
function inOrder(records: readonly Answer[]): Buffer[] {
  const ofType = (type: string): Buffer[] =>
    records.filter((record) => record.type === type).flatMap((record) => dataOf(record) ?? []);
  return ['TXT', 'SRV'].flatMap((type) =>
    ofType(type)
      .sort((one, other) => Buffer.compare(one, other))
      .map((data) => Buffer.concat([Buffer.from(type === 'TXT' ? [16] : [33]), data])),
  );
}

/** Below 0 if the first list comes earlier: by the first record that differs, else the shorter one. */
function compared(ours: readonly Buffer[], theirs: readonly Buffer[]): number {
  for (const [index, own] of ours.entries()) {
    const other = theirs[index];
    if (other === undefined) return 1;
    const order = Buffer.compare(own, other);
    if (order !== 0) return order;
  }
  return ours.length - theirs.length;
}
