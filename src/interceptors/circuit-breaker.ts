import type { Context } from '../context/context.ts';
import type { Outgoing } from '../context/outgoing.ts';
import { retryInfo } from '../errors/details.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { type CallHooks, type CallOutcome, withHooks } from '../pipeline/hooks.ts';
import type { Interceptor, MethodDescriptor } from '../pipeline/pipeline.ts';
import type { Clock, Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { type Admission, Circuit, type CircuitRules, type Verdict } from './internal/circuit.ts';
import { invalidOption } from './internal/repeating.ts';

/** When calls are refused instead of made. */
export interface CircuitBreakerOptions {
  /**
   * What has a circuit of its own. `node`: every address, on the client; one that is open is passed over for another.
   * `method`, `service`: what is called, wherever it is. Where calls are served, and for events, `node` is as `method`.
   * @default 'node'
   */
  readonly per?: 'node' | 'method' | 'service' | undefined;
  /** Failures that count. @default UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN */
  readonly codes?: readonly Code[] | undefined;
  /** Share of the calls that must fail for it to open, 0 to 1. @default 0.5 */
  readonly failureRatio?: number | undefined;
  /** Before it has seen so many calls it stays closed. @default 10 */
  readonly minimumCalls?: number | undefined;
  /** Calls of so many milliseconds are looked at. @default 10_000 */
  readonly windowMs?: number | undefined;
  /** Time in milliseconds that it stays open, before calls may try again. @default 5_000 */
  readonly openMs?: number | undefined;
  /** Calls that may try at once, and must go well for it to close. @default 1 */
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
 * Refuses calls while too many have failed: who is in trouble is left alone, and callers hear at once what they would
 * hear late. Closed, open and half open, by the share of failures within a rolling window. On either side; one instance
 * keeps the circuits of all methods it is put around.
 *
 * A refused call fails with UNAVAILABLE (`circuit.open`); message and `google.rpc.RetryInfo` say when the next may try.
 * It was not sent, so that `retry` around it may repeat it. A stream has gone well with its first reply. An event that
 * is refused goes back to its broker as one that failed.
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
  const waitMs = circuit.closedForMs;
  if (waitMs !== undefined) throw isOpen(what, waitMs);
  const admission = circuit.admit();
  return {
    onFirst: () => admission.settle('well'),
    onEnd: (ending) => admission.settle(verdictOf(policy, ending)),
  };
}

/** The node is chosen later, and another one after it where it cannot be reached; attempts within go to several. */
function throughNodes(policy: Policy, ctx: Context, outgoing: Outgoing): CallHooks {
  const admissions = new Map<string, Admission>();
  const settle = (address: string, verdict: Verdict): void => {
    admissions.get(address)?.settle(verdict);
    admissions.delete(address);
  };
  outgoing.observeRoute({
    reject: (address) => {
      const waitMs = policy.circuits.of(address).closedForMs;
      return waitMs === undefined ? undefined : isOpen(address, waitMs);
    },
    onSend: (address) => {
      settle(address, 'nothing');
      admissions.set(address, policy.circuits.of(address).admit());
    },
    onRefused: (address) => settle(address, 'failed'),
  });
  const end = (verdict: Verdict): void => {
    settle(ctx.peer, verdict);
    // Of attempts that did not decide the call nothing is known here.
    for (const admission of admissions.values()) admission.settle('nothing');
  };
  return { onFirst: () => settle(ctx.peer, 'well'), onEnd: (ending) => end(verdictOf(policy, ending)) };
}

function verdictOf(policy: Policy, ending: CallOutcome): Verdict {
  if (ending.outcome === 'ok') return 'well';
  if (ending.outcome === 'cancelled') return 'nothing';
  const { code } = TenonError.from(ending.error);
  if (policy.codes.has(code)) return 'failed';
  // Made by the caller: nothing was heard of who was called.
  return code === Code.Cancelled ? 'nothing' : 'well';
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
      // Nodes come and go: what is not called any more is forgotten when a new one comes.
      for (const [other, { isIdle }] of this.#circuits) if (isIdle) this.#circuits.delete(other);
      this.#circuits.set(key, (circuit = new Circuit(this.#rules, this.#clock)));
    }
    return circuit;
  }
}

function isOpen(what: string, waitMs: number): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'circuit.open',
    message: `the circuit of ${what} is open, as too many calls failed: try again in ${Math.ceil(waitMs)} ms`,
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
