import { Code, type TenonError } from '../../errors/errors.ts';
import type { EjectionReason } from '../selector.ts';
import { isServerFailure } from './server-failure.ts';

/** The options of an {@link OutlierDetection}; `SelectorOptions` describes them. */
export interface EjectionOptions {
  readonly ejectMs: number;
  readonly maxEjectMs: number;
  readonly ejectGrowth: 'double' | 'linear';
  readonly ejectAfter: number;
  readonly maxEjectedPercent: number;
  readonly panicPercent: number;
  readonly sweepMs: number;
  readonly failurePercent: number;
  readonly failureVolume: number;
  readonly successRateStdev?: number | undefined;
  readonly successRateNodes: number;
  readonly successRateVolume: number;
  readonly latencyFactor?: number | undefined;
}

/** The default options of an {@link OutlierDetection}. */
export const ejectionDefaults = {
  ejectMs: 5_000,
  maxEjectMs: 300_000,
  ejectGrowth: 'double' as EjectionOptions['ejectGrowth'],
  ejectAfter: 3,
  maxEjectedPercent: 50,
  panicPercent: 50,
  sweepMs: 10_000,
  failurePercent: 85,
  failureVolume: 20,
  successRateNodes: 5,
  successRateVolume: 100,
} satisfies EjectionOptions;

/** The outcomes of the calls of one node, and what follows from them. */
export class NodeHealth {
  /** Failures in a row since the last ejection. */
  failures = 0;
  /** The factor of the next ejection's time: gRFC A50's multiplier. */
  ejections = 0;
  ejectedUntilMs = 0;
  /** True if the last ejection was for failures in a row: a success forgives it. */
  isForgivable = false;
  /** True if the node takes no calls: nobody listens at its address, or it drains. */
  isUnreachable = false;
  /** True if one call may try the node before its ejection is over: its connections broke, as when a process dies. */
  isLost = false;
  /** The earliest time of the next call that tries the node. */
  probeAtMs = 0;
  /** The time until the next probe if the last one is refused, and if it gets no answer. */
  refusedMs = 0;
  silentMs = 0;
  /** The time since which the node is away: calls that began before say nothing of who is there now. */
  awaySinceMs = Number.NEGATIVE_INFINITY;
  /** The times at the last probe, until its outcome is known. */
  beforeProbe: { readonly probeAtMs: number; readonly silentMs: number } | undefined;
  /** True if the call of the last probe was sent. */
  isProbeSent = false;
  /** True from its ejection until it is used again, or leaves the registry, for observers. */
  isOut = false;
  /** The reason of the last ejection. */
  outReason: EjectionReason = 'failures';
  /** Calls of the interval by their outcome, and the sum of the latencies of those that succeeded. */
  good = 0;
  bad = 0;
  latencyMs = 0;
}

/** A node with its health. */
export interface HealthyNode {
  health: NodeHealth;
  /** True if its process is late with its work: calls would wait. */
  readonly isBusy?: boolean | undefined;
  /** The time since which the registry does not have it as serving. */
  readonly goneMs?: number | undefined;
}

/** Is told of nodes that are left out, and that are used again. */
export interface EjectionListener<Node> {
  onOut(node: Node, reason: EjectionReason, durationMs: number | undefined): void;
  onBack(node: Node): void;
}

/** The result of {@link OutlierDetection.partition}. */
export interface Partition<Node> {
  /** Nodes to select from. */
  readonly available: readonly Node[];
  /** Nodes to try after all others have failed. */
  readonly lastResort: readonly Node[];
  /** The time of the next change that time alone brings. */
  readonly changeMs: number;
  /** The time from which a node that is left out is to be tried. */
  readonly probeMs: number;
  /** True if nodes that are ejected are among those to select from, as there are too few others. */
  readonly isPanic: boolean;
}

// A refused probe costs its call a millisecond and nothing else, as the call goes on to another node. One that gets no
// answer costs the call its deadline, and one that breaks costs the call.
const probe = { initialMs: 100, maxRefusedMs: 1_000, initialSilentMs: 1_000, initialLostMs: 1_000 } as const;

/** The reasons of calls that this process could not send. */
const notSent = /^(?:client\.|codec\.encode$|transport\.message_too_large$)/;

/**
 * Tells which nodes of a service to leave out, by the outcomes of their calls. A node that certainly takes no call is
 * *unreachable*: it is left out at once, and single calls try it until one gets through. A node that takes calls and
 * fails is *ejected* for a time that grows: after failures in a row, and at the end of an interval by the share of
 * failures, by success rate (gRFC A50), or by latency. If its connections broke its process may have died, and a new
 * one may be there at any time: one call tries it before the ejection is over.
 */
export class OutlierDetection<Node extends HealthyNode> {
  readonly #options: () => EjectionOptions;
  readonly #listener: EjectionListener<Node> | undefined;
  #sweepAtMs: number | undefined;
  #changes = 0;

  constructor(options: () => EjectionOptions, listener?: EjectionListener<Node>) {
    this.#options = options;
    this.#listener = listener;
  }

  /** Grows whenever the result of `partition` may have changed other than by time. */
  get changes(): number {
    return this.#changes;
  }

  /**
   * Counts the outcome of a call; `error` is absent if the node answered, with the code `answer`. `nodes` are all nodes
   * that can be selected, and `startMs` is the time at which the call was sent, if known. Returns true if the node
   * was away and has answered.
   */
  record(
    node: Node,
    nodes: readonly Node[],
    nowMs: number,
    error: TenonError | undefined,
    latencyMs: number | undefined,
    answer: Code | undefined,
    startMs?: number,
  ): boolean {
    this.#sweep(nodes, nowMs);
    const { health } = node;
    const outcome = outcomeOf(error);
    if (outcome === 'ok') {
      if (isServerFailure(answer)) health.bad += 1;
      else health.good += 1;
      health.latencyMs += latencyMs ?? 0;
      return this.#succeed(node, nowMs, startMs);
    }
    if (outcome === 'unrelated') {
      if (error?.code === Code.Cancelled) this.#leave(health, nowMs, startMs);
      // A call that this process could not send has not tried the node.
      else if (error?.reason !== undefined && notSent.test(error.reason)) this.#giveBack(health);
      return false;
    }
    health.beforeProbe = undefined;
    if (outcome === 'unreachable') {
      this.#lose(node, nowMs, error?.reason === 'server.draining' ? 'draining' : 'unreachable');
      return false;
    }
    health.bad += 1;
    if (health.isLost && health.silentMs > probe.initialSilentMs) {
      // The call that tried the node has reached somebody, and failed: the ejection lasts until its time is over.
      health.isLost = false;
      this.#changes += 1;
    }
    if (outcome === 'failed' && !health.isUnreachable) this.#fail(node, nodes, nowMs, error);
    return false;
  }

  /** Notes that the node has begun to answer a call sent at `startMs`. Returns true if it was away. */
  reached(node: Node, nowMs: number, startMs: number | undefined): boolean {
    return node.health.isUnreachable || node.health.isLost ? this.#succeed(node, nowMs, startMs) : false;
  }

  /** Divides nodes into those to select from, and the others. */
  partition(nodes: readonly Node[], nowMs: number): Partition<Node> {
    const available: Node[] = [];
    const busy: Node[] = [];
    const ejected: Node[] = [];
    const unreachable: Node[] = [];
    let changeMs = Number.POSITIVE_INFINITY;
    let probeMs = Number.POSITIVE_INFINITY;
    for (const node of nodes) {
      const { health } = node;
      if (health.isUnreachable) {
        unreachable.push(node);
        probeMs = Math.min(probeMs, health.probeAtMs);
        continue;
      }
      if (health.ejectedUntilMs > nowMs) {
        ejected.push(node);
        changeMs = Math.min(changeMs, health.ejectedUntilMs);
        if (health.isLost) probeMs = Math.min(probeMs, health.probeAtMs);
        continue;
      }
      this.#back(node);
      if (node.isBusy === true) {
        busy.push(node);
      } else {
        available.push(node);
      }
    }
    const times = { changeMs, probeMs };
    if (available.length === nodes.length) return { available: nodes, lastResort: [], isPanic: false, ...times };
    const reachable = nodes.length - unreachable.length;
    if (reachable === 0) {
      return { available: nodes, lastResort: [], isPanic: true, changeMs, probeMs: Number.POSITIVE_INFINITY };
    }
    const isFew = (count: number): boolean => count === 0 || count * 100 < reachable * this.#options().panicPercent;
    if (!isFew(available.length))
      return { available, lastResort: [...busy, ...ejected, ...unreachable], isPanic: false, ...times };
    // A node that is late, or out for its failures, may still be better than none, or than far too few.
    const isPanic = isFew(available.length + busy.length);
    return {
      available: nodes.filter(({ health }) => !health.isUnreachable && (isPanic || health.ejectedUntilMs <= nowMs)),
      lastResort: isPanic ? unreachable : [...ejected, ...unreachable],
      isPanic,
      ...times,
    };
  }

  /** Returns the node that the next call is to try, of those that `isFit` allows: the one that is due longest. */
  probeOf(nodes: readonly Node[], nowMs: number, isFit: (node: Node) => boolean): Node | undefined {
    let longest: Node | undefined;
    for (const node of nodes) {
      if (!this.isDue(node, nowMs) || (longest && longest.health.probeAtMs <= node.health.probeAtMs)) continue;
      if (isFit(node)) longest = node;
    }
    return longest;
  }

  /** True if a call is to try the node, which is left out. */
  isDue({ health }: Node, nowMs: number): boolean {
    const isTried = health.isUnreachable || (health.isLost && health.ejectedUntilMs > nowMs);
    return isTried && health.probeAtMs <= nowMs;
  }

  /** Notes that a call is to try the node. Until its outcome is known no other does, for a time that grows. */
  probe({ health }: Node, nowMs: number): void {
    const { silentMs } = health;
    // If it is given back it is due from now on, so that others which are due come first.
    health.beforeProbe = { probeAtMs: nowMs, silentMs };
    health.isProbeSent = false;
    health.probeAtMs = nowMs + silentMs;
    health.silentMs = Math.min(silentMs * 2, Math.max(this.#options().maxEjectMs, silentMs));
    this.#changes += 1;
  }

  /** Notes that a call is sent to the node. */
  begin({ health }: Node): void {
    health.isProbeSent = true;
  }

  /** Notes that the call that was to try the node goes elsewhere: if it was not sent, the next one tries it. */
  passOver({ health }: Node): void {
    if (!health.isProbeSent) this.#giveBack(health);
  }

  /** Notes that the node leaves the registry. What is known of it stays, and observers count it no longer. */
  leave(node: Node): void {
    this.#back(node);
  }

  /** Notes that the node is in the registry again. Whoever is announced anew is worth a try, unless it is ejected. */
  rejoin(node: Node, nowMs: number): void {
    const { health } = node;
    health.isUnreachable = false;
    if (health.ejectedUntilMs > nowMs) this.#out(node, health.outReason, health.ejectedUntilMs - nowMs);
  }

  /** Forgets what is known of the node. */
  forget(node: Node): void {
    this.#back(node);
    node.health = new NodeHealth();
    this.#changes += 1;
  }

  #succeed(node: Node, nowMs: number, startMs: number | undefined): boolean {
    const { health } = node;
    const wasLost = health.isLost && health.ejectedUntilMs > nowMs;
    // The last calls of a node that drains, or has gone, do not take it back.
    if ((health.isUnreachable || wasLost) && startMs !== undefined && startMs < health.awaySinceMs) return false;
    health.failures = 0;
    health.beforeProbe = undefined;
    if (!health.isUnreachable && !health.isForgivable) return false;
    // What was known of a node that was away is of the process that was there before.
    const isAway = health.isUnreachable || wasLost;
    if (health.isForgivable) health.ejections = 0;
    const isOut = health.isUnreachable || health.ejectedUntilMs > nowMs;
    health.isForgivable = false;
    health.isUnreachable = false;
    health.isLost = false;
    health.ejectedUntilMs = 0;
    if (isOut) {
      this.#changes += 1;
      this.#back(node);
    }
    return isAway;
  }

  #lose(node: Node, nowMs: number, reason: EjectionReason): void {
    const { health } = node;
    if (!health.isUnreachable) {
      health.isUnreachable = true;
      health.awaySinceMs = nowMs;
      health.refusedMs = probe.initialMs;
      health.probeAtMs = nowMs + health.refusedMs;
      this.#out(node, reason, undefined);
    } else if (health.silentMs > probe.initialSilentMs) {
      health.refusedMs = Math.min(health.refusedMs * 2, probe.maxRefusedMs);
      health.probeAtMs = nowMs + health.refusedMs;
    } else {
      // One of the calls that were on their way when the node went away.
      return;
    }
    health.silentMs = probe.initialSilentMs;
    this.#changes += 1;
  }

  #fail(node: Node, nodes: readonly Node[], nowMs: number, error: TenonError | undefined): void {
    const { health } = node;
    // Calls that were in progress when the node was ejected do not count again.
    if (health.ejectedUntilMs > nowMs) return;
    health.failures += 1;
    // A node that was ejected and has not answered since is on probation: one failure is enough.
    const isOnProbation = health.isForgivable && health.ejections > 0;
    if (!isOnProbation && health.failures < this.#options().ejectAfter) return;
    if (!this.#eject(node, nodes, nowMs, 'failures')) return;
    health.isForgivable = true;
    if (isOnProbation || error?.reason !== 'transport.connection_lost') return;
    health.isLost = true;
    health.awaySinceMs = nowMs;
    health.refusedMs = probe.initialMs;
    health.probeAtMs = nowMs + probe.initialLostMs;
    health.silentMs = probe.initialSilentMs;
  }

  /** Takes the end of a call that its caller left: one that left soon has not seen that the node is silent. */
  #leave(health: NodeHealth, nowMs: number, startMs: number | undefined): void {
    const { beforeProbe } = health;
    if (!beforeProbe || nowMs - beforeProbe.probeAtMs >= probe.initialSilentMs) return;
    if (startMs !== undefined && startMs < beforeProbe.probeAtMs) return;
    this.#giveBack(health);
    health.probeAtMs = nowMs + health.refusedMs;
    health.refusedMs = Math.min(health.refusedMs * 2, probe.maxRefusedMs);
  }

  #giveBack(health: NodeHealth): void {
    const { beforeProbe } = health;
    if (!beforeProbe) return;
    health.beforeProbe = undefined;
    health.probeAtMs = beforeProbe.probeAtMs;
    health.silentMs = beforeProbe.silentMs;
    this.#changes += 1;
  }

  #out(node: Node, reason: EjectionReason, durationMs: number | undefined): void {
    const { health } = node;
    health.outReason = reason;
    // The last calls of a node that has left say no more than that.
    if (node.goneMs !== undefined) return;
    health.isOut = true;
    this.#listener?.onOut(node, reason, durationMs);
  }

  #back(node: Node): void {
    if (!node.health.isOut) return;
    node.health.isOut = false;
    this.#listener?.onBack(node);
  }

  /** Ejects a node from `atMs` on, unless too many are ejected. */
  #eject(node: Node, nodes: readonly Node[], atMs: number, reason: EjectionReason): boolean {
    const { ejectMs, maxEjectMs, ejectGrowth, maxEjectedPercent } = this.#options();
    let ejected = 0;
    let others = 0;
    for (const one of nodes) {
      if (one.health.ejectedUntilMs > atMs) ejected += 1;
      else if (one !== node && !one.health.isUnreachable) others += 1;
    }
    const most = Math.max(1, Math.floor((nodes.length * maxEjectedPercent) / 100));
    if (ejected >= most || others === 0) return false;
    const { health } = node;
    const factor = ejectGrowth === 'linear' ? health.ejections + 1 : 2 ** health.ejections;
    const durationMs = Math.min(ejectMs * factor, Math.max(ejectMs, maxEjectMs));
    health.ejectedUntilMs = atMs + durationMs;
    health.ejections += 1;
    health.failures = 0;
    health.isForgivable = false;
    health.isLost = false;
    this.#changes += 1;
    this.#out(node, reason, durationMs);
    return true;
  }

  /** Ends the interval if it is over, as gRFC A50 says. There is no timer: the first outcome after its end does it. */
  #sweep(nodes: readonly Node[], nowMs: number): void {
    const { sweepMs } = this.#options();
    const dueMs = (this.#sweepAtMs ??= nowMs + sweepMs);
    if (nowMs < dueMs) return;
    const passed = Math.floor((nowMs - dueMs) / sweepMs) + 1;
    this.#sweepAtMs = dueMs + passed * sweepMs;
    this.#ejectBySuccessRate(nodes, dueMs);
    this.#ejectByFailures(nodes, dueMs);
    this.#ejectByLatency(nodes, dueMs);
    for (const { health } of nodes) {
      health.good = 0;
      health.bad = 0;
      health.latencyMs = 0;
      if (health.ejections === 0) continue;
      // The multiplier goes down once for each interval in which the node was not ejected at any time.
      const first = Math.max(0, Math.ceil((health.ejectedUntilMs - dueMs) / sweepMs) + 1);
      health.ejections = Math.max(0, health.ejections - Math.max(0, passed - first));
    }
  }

  #ejectBySuccessRate(nodes: readonly Node[], atMs: number): void {
    const { successRateStdev, successRateNodes, successRateVolume } = this.#options();
    if (successRateStdev === undefined) return;
    const counted = nodes.filter(({ health }) => health.good + health.bad >= successRateVolume);
    if (counted.length === 0 || counted.length < successRateNodes) return;
    const rates = counted.map(({ health }) => health.good / (health.good + health.bad));
    const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
    // Of the population, not of a sample: with few nodes the other can eject nobody.
    const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length;
    const threshold = mean - (Math.sqrt(variance) * successRateStdev) / 1_000;
    counted.forEach((node, index) => {
      if ((rates[index] as number) < threshold) this.#ejectUnlessOut(node, nodes, atMs, 'success-rate');
    });
  }

  #ejectByFailures(nodes: readonly Node[], atMs: number): void {
    const { failurePercent, failureVolume } = this.#options();
    for (const node of nodes) {
      const { good, bad } = node.health;
      const volume = good + bad;
      if (volume >= failureVolume && bad * 100 > failurePercent * volume)
        this.#ejectUnlessOut(node, nodes, atMs, 'failure-share');
    }
  }

  #ejectByLatency(nodes: readonly Node[], atMs: number): void {
    const { latencyFactor, failureVolume, successRateNodes } = this.#options();
    if (latencyFactor === undefined) return;
    const counted = nodes.filter(({ health }) => health.good > 0 && health.good >= failureVolume);
    if (counted.length < successRateNodes) return;
    const meanOf = ({ health }: Node): number => health.latencyMs / health.good;
    const means = counted.map(meanOf).sort((a, b) => a - b);
    const median = means[Math.floor((means.length - 1) / 2)] as number;
    for (const node of counted)
      if (meanOf(node) > latencyFactor * median) this.#ejectUnlessOut(node, nodes, atMs, 'latency');
  }

  #ejectUnlessOut(node: Node, nodes: readonly Node[], atMs: number, reason: EjectionReason): void {
    if (node.health.ejectedUntilMs <= atMs && !node.health.isUnreachable) this.#eject(node, nodes, atMs, reason);
  }
}

/**
 * Classifies the end of a call. `failed` counts in a row and in the share of failures, `late` in the share alone: a
 * missed deadline may have been too short.
 */
function outcomeOf(error: TenonError | undefined): 'ok' | 'failed' | 'late' | 'unreachable' | 'unrelated' {
  if (!error) return 'ok';
  const { code, reason } = error;
  // The node certainly takes no call now: one such answer is enough.
  if (reason === 'server.draining') return 'unreachable';
  if (code === Code.Cancelled) return 'unrelated';
  if (code === Code.DeadlineExceeded) return 'late';
  if (reason === 'transport.unreachable') return 'unreachable';
  // Made by this process, UNAVAILABLE too: credentials that could not be obtained.
  if (reason?.startsWith('client.')) return 'unrelated';
  if (code === Code.Unavailable || reason === 'transport.bad_reply') return 'failed';
  // Possibly made by this process: the node may not have answered at all.
  if (reason !== undefined && /^(?:transport|codec|call)\./.test(reason)) return 'unrelated';
  // Any other error is an answer of the handler.
  return 'ok';
}
