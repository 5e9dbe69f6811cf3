import type { Context } from '../context/context.ts';
import type { Outgoing } from '../context/outgoing.ts';
import { retryInfo } from '../errors/details.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { type CallHooks, type CallOutcome, withHooks } from '../pipeline/hooks.ts';
import type { Interceptor, MethodDescriptor } from '../pipeline/pipeline.ts';
import type { Clock, Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { type Admission, Circuit, type CircuitRules, type CircuitSample } from './internal/circuit.ts';
import { invalidOption } from './internal/invalid-option.ts';

/** Options of {@link circuitBreaker}. */
export interface CircuitBreakerOptions {
  /**
   * The unit that has a circuit of its own. `node`: each address; the client passes over a node whose circuit is open.
   * `method`, `service`: each method or service, on whatever node. On servers, and for events, `node` means `method`.
   * @default 'node'
   */
  readonly per?: 'node' | 'method' | 'service' | undefined;
  /** Codes of failures that count. @default UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN */
  readonly codes?: readonly Code[] | undefined;
  /** The share of failed calls at which the circuit opens, 0 to 1. @default 0.5 */
  readonly failureRatio?: number | undefined;
  /** The number of calls within the window below which the circuit stays closed. @default 10 */
  readonly minimumCalls?: number | undefined;
  /** The rolling window within which calls count, in milliseconds. @default 10_000 */
  readonly windowMs?: number | undefined;
  /** The time that the circuit stays open before calls may try again, in milliseconds. @default 5_000 */
  readonly openMs?: number | undefined;
  /**
   * The number of calls that a half-open circuit lets through at once, and that must succeed to close it. @default 1
   */
  readonly halfOpenCalls?: number | undefined;
  /** The clock. @default the machine's own */
  readonly runtime?: Pick<Runtime, 'clock'> | undefined;
}

interface Policy {
  readonly per: 'node' | 'method' | 'service';
  readonly codes: ReadonlySet<Code>;
  readonly circuits: Circuits;
}

/**
 * Makes an interceptor, for either side, that refuses calls while too many of them fail: the callee can recover, and
 * callers fail fast. A circuit is closed, open or half open, by the share of failures within a rolling window. One
 * instance keeps the circuits of all methods that share it.
 *
 * A refused call fails with UNAVAILABLE (`interceptors.circuit_open`); its message and its
 * `google.rpc.RetryInfo` say when to try again. It was not sent, so `retry` around it may repeat it. A stream counts as
 * a success with its first reply. An event that is refused goes back to its broker as a failed one.
 *
 * @example
 * ```ts
 * const options: ClientOptions = { interceptors: [retry(), circuitBreaker({ failureRatio: 0.3 })] };
 * ```
 */
export function circuitBreaker(options: CircuitBreakerOptions = {}): Interceptor {
  const { per = 'node', runtime = systemRuntime } = options;
  const codes = new Set(options.codes ?? [Code.Unavailable, Code.DeadlineExceeded, Code.Internal, Code.Unknown]);
  const policy: Policy = { per, codes, circuits: new Circuits(rulesOf(options), runtime.clock) };
  return withHooks((ctx, method) => {
    const { outgoing } = ctx;
    return per === 'node' && outgoing ? throughNodes(policy, ctx, outgoing) : through(policy, method);
  });
}

function through(policy: Policy, method: MethodDescriptor): CallHooks {
  const what = policy.per === 'service' ? method.service : method.path;
  const circuit = policy.circuits.of(what);
  const waitMs = circuit.refusesForMs;
  if (waitMs !== undefined) throw isOpen(what, waitMs);
  const admission = circuit.admit();
  return {
    onFirst: () => admission.settle('success'),
    onEnd: (ending) => admission.settle(sampleOf(policy, ending)),
  };
}

/** Follows a call to the nodes that it is sent to: several where one cannot be reached, or where it is hedged. */
function throughNodes(policy: Policy, ctx: Context, outgoing: Outgoing): CallHooks {
  const admissions = new Map<string, Admission>();
  const settle = (address: string, sample: CircuitSample): void => {
    admissions.get(address)?.settle(sample);
    admissions.delete(address);
  };
  outgoing.observeRoute({
    reject: (address) => {
      const waitMs = policy.circuits.of(address).refusesForMs;
      return waitMs === undefined ? undefined : isOpen(address, waitMs);
    },
    onSend: (address) => {
      settle(address, 'ignored');
      admissions.set(address, policy.circuits.of(address).admit());
    },
    onRefused: (address) => settle(address, 'failure'),
  });
  const end = (sample: CircuitSample): void => {
    settle(ctx.peer, sample);
    // Nothing is known of attempts that were not committed.
    for (const admission of admissions.values()) admission.settle('ignored');
  };
  return { onFirst: () => settle(ctx.peer, 'success'), onEnd: (ending) => end(sampleOf(policy, ending)) };
}

function sampleOf(policy: Policy, ending: CallOutcome): CircuitSample {
  if (ending.outcome === 'ok') return 'success';
  if (ending.outcome === 'cancelled') return 'ignored';
  const { code } = TenonError.from(ending.error);
  if (policy.codes.has(code)) return 'failure';
  // The caller cancelled: that says nothing about the callee.
  return code === Code.Cancelled ? 'ignored' : 'success';
}

class Circuits {
  readonly #rules: CircuitRules;
  readonly #clock: Clock;
  readonly #circuits = new Map<string, Circuit>();

  constructor(rules: CircuitRules, clock: Clock) {
    this.#rules = rules;
    this.#clock = clock;
  }

  of(key: string): Circuit {
    let circuit = this.#circuits.get(key);
    if (!circuit) {
      // Nodes come and go: idle circuits are dropped when a new one is made.
      for (const [other, { isIdle }] of this.#circuits) if (isIdle) this.#circuits.delete(other);
      this.#circuits.set(key, (circuit = new Circuit(this.#rules, this.#clock)));
    }
    return circuit;
  }
}

function isOpen(what: string, waitMs: number): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'interceptors.circuit_open',
    message: `the circuit of ${what} is open, because too many calls failed: try again in ${Math.ceil(waitMs)} ms`,
    details: [retryInfo({ retryDelayMs: Math.ceil(waitMs) })],
  });
}

function rulesOf(options: CircuitBreakerOptions): CircuitRules {
  const {
    failureRatio = 0.5,
    minimumCalls = 10,
    windowMs = 10_000,
    openMs = 5_000,
    halfOpenCalls = 1,
  } = checkedOptions('circuitBreaker', options, { failureRatio: {}, minimumCalls: {}, halfOpenCalls: {} });
  if (!(failureRatio > 0 && failureRatio <= 1)) {
    throw invalidOption('circuitBreaker', `failureRatio is ${failureRatio}: give a share above 0, up to 1`);
  }
  for (const [name, value] of Object.entries({ minimumCalls, windowMs, openMs, halfOpenCalls })) {
    if (!(value > 0)) throw invalidOption('circuitBreaker', `${name} is ${value}: give a number above 0`);
  }
  return { failureRatio, minimumCalls, windowMs, openMs, halfOpenCalls };
}
