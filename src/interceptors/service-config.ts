import { Code, codeName, TenonError } from '../errors/errors.ts';
import type { Interceptor, MethodDescriptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { hedge } from './hedge.ts';
import { type Found, Reading } from './internal/reading.ts';
import { retry } from './retry.ts';
import { RetryBudget } from './retry-budget.ts';

/** A code by its name or its number: `UNAVAILABLE`, 14. */
export type ConfigCode = string | number;

/** A duration as proto JSON writes it: `1.5s`. */
export type ConfigDuration = string;

/**
 * Policies per method as data, in gRPC's own format (grpc: service_config.proto, and A6 for `retryPolicy`,
 * `hedgingPolicy` and `retryThrottling`).
 *
 * What concerns gRPC's own name resolution (`loadBalancingConfig`, `loadBalancingPolicy`, `healthCheckConfig`) is
 * accepted and has no effect: the selector chooses nodes.
 *
 * @example
 * ```ts
 * const serviceConfig: ServiceConfig = {
 *   methodConfig: [
 *     {
 *       name: [{ service: 'places.Places', method: 'Nearest' }],
 *       timeout: '0.5s',
 *       retryPolicy: {
 *         maxAttempts: 4,
 *         initialBackoff: '0.1s',
 *         maxBackoff: '1s',
 *         backoffMultiplier: 2,
 *         retryableStatusCodes: ['UNAVAILABLE'],
 *       },
 *     },
 *   ],
 *   retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
 * };
 * ```
 */
export interface ServiceConfig {
  readonly methodConfig?: readonly MethodConfig[] | undefined;
  /** Of every service called, by itself. */
  readonly retryThrottling?: { readonly maxTokens: number; readonly tokenRatio: number } | undefined;
  readonly loadBalancingPolicy?: unknown;
  readonly loadBalancingConfig?: unknown;
  readonly healthCheckConfig?: unknown;
}

/** What is said of the methods that it names. */
export interface MethodConfig {
  /**
   * A method, a whole service where `method` is left out, everything where `service` is left out as well. The nearest
   * counts.
   */
  readonly name: readonly { readonly service?: string | undefined; readonly method?: string | undefined }[];
  readonly waitForReady?: boolean | undefined;
  /** Bound of each call; the nearer of this and what the call says. */
  readonly timeout?: ConfigDuration | undefined;
  readonly maxRequestMessageBytes?: number | undefined;
  readonly maxResponseMessageBytes?: number | undefined;
  readonly retryPolicy?: RetryPolicyConfig | undefined;
  /** Not together with `retryPolicy`. */
  readonly hedgingPolicy?: HedgingPolicyConfig | undefined;
}

/** gRPC's retry policy (A6). Only what is safe is repeated: see {@link retry}. */
export interface RetryPolicyConfig {
  /** At least 2; more than 5 count as 5. */
  readonly maxAttempts: number;
  readonly initialBackoff: ConfigDuration;
  readonly maxBackoff: ConfigDuration;
  readonly backoffMultiplier: number;
  readonly retryableStatusCodes: readonly ConfigCode[];
}

/** gRPC's hedging policy (A6). Only methods that are declared idempotent are hedged: see {@link hedge}. */
export interface HedgingPolicyConfig {
  /** At least 2; more than 5 count as 5. */
  readonly maxAttempts: number;
  /** @default '0s': all at once */
  readonly hedgingDelay?: ConfigDuration | undefined;
  /** @default none: any failure ends the call */
  readonly nonFatalStatusCodes?: readonly ConfigCode[] | undefined;
}

/** What a service config says of one method. */
export interface MethodPolicy {
  readonly waitForReady?: boolean | undefined;
  readonly timeoutMs?: number | undefined;
  readonly maxSendBytes?: number | undefined;
  readonly maxReceiveBytes?: number | undefined;
  /** Innermost of the method's. */
  readonly interceptors: readonly Interceptor[];
}

const nothing: MethodPolicy = { interceptors: [] };

/** A service config, read: what it says by method. */
export class ServicePolicies {
  /** By path, by `/service/`, and by `/`. */
  readonly #policies = new Map<string, MethodPolicy>();

  /**
   * Throws INVALID_ARGUMENT (`interceptors.invalid_service_config`) with everything that is wrong, each with its path.
   */
  constructor(config: ServiceConfig, runtime: Runtime) {
    const reading = new Reading();
    const root = reading.object('', config, [
      'methodConfig',
      'retryThrottling',
      'loadBalancingPolicy',
      'loadBalancingConfig',
      'healthCheckConfig',
    ]);
    const budget = root && throttling(reading, root);
    for (const entry of root?.list('methodConfig') ?? []) this.#read(reading, entry, budget, runtime);
    if (reading.problems.length === 0) return;
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'interceptors.invalid_service_config',
      message: `the service config is wrong:\n${reading.problems.map((problem) => `- ${problem}`).join('\n')}`,
    });
  }

  of(method: Pick<MethodDescriptor, 'service' | 'method'>): MethodPolicy {
    const policies = this.#policies;
    return (
      policies.get(`/${method.service}/${method.method}`) ??
      policies.get(`/${method.service}/`) ??
      policies.get('/') ??
      nothing
    );
  }

  #read(reading: Reading, entry: Found, budget: RetryBudget | undefined, runtime: Runtime): void {
    const said = reading.object(entry.path, entry.value, [
      'name',
      'waitForReady',
      'timeout',
      'maxRequestMessageBytes',
      'maxResponseMessageBytes',
      'retryPolicy',
      'hedgingPolicy',
    ]);
    if (!said) return;
    const again = said.has('retryPolicy')
      ? retryPolicy(reading, said.found('retryPolicy'), budget, runtime)
      : undefined;
    const beside = said.has('hedgingPolicy')
      ? hedgingPolicy(reading, said.found('hedgingPolicy'), budget, runtime)
      : undefined;
    if (said.has('retryPolicy') && said.has('hedgingPolicy')) {
      reading.wrong(entry.path, 'has both retryPolicy and hedgingPolicy: a method is retried or hedged');
    }
    const policy: MethodPolicy = {
      waitForReady: said.boolean('waitForReady'),
      timeoutMs: said.durationMs('timeout', 'above 0'),
      maxSendBytes: said.number(
        'maxRequestMessageBytes',
        (value) => Number.isInteger(value) && value >= 0,
        'a number of bytes',
      ),
      maxReceiveBytes: said.number(
        'maxResponseMessageBytes',
        (value) => Number.isInteger(value) && value >= 0,
        'a number of bytes',
      ),
      interceptors: [again, beside].filter((one) => one !== undefined),
    };
    const names = said.list('name');
    if (names.length === 0) reading.wrong(`${entry.path}.name`, 'names nothing: give [{}] for every method');
    for (const name of names) this.#name(reading, name, policy);
  }

  #name(reading: Reading, name: Found, policy: MethodPolicy): void {
    const said = reading.object(name.path, name.value, ['service', 'method']);
    if (!said) return;
    const service = said.text('service') ?? '';
    const method = said.text('method') ?? '';
    if (service === '' && method !== '') {
      reading.wrong(name.path, `names the method ${method} of no service: give the service too`);
      return;
    }
    const key = service === '' ? '/' : `/${service}/${method}`;
    if (this.#policies.has(key)) reading.wrong(name.path, `${key === '/' ? 'everything' : key} is named twice`);
    this.#policies.set(key, policy);
  }
}

function throttling(reading: Reading, root: ReturnType<Reading['object']>): RetryBudget | undefined {
  if (!root?.has('retryThrottling')) return undefined;
  const { path, value } = root.found('retryThrottling');
  const said = reading.object(path, value, ['maxTokens', 'tokenRatio']);
  const maxTokens = said
    ?.required()
    .number('maxTokens', (tokens) => tokens > 0 && tokens <= 1000, 'above 0, up to 1000');
  const tokenRatio = said?.required().number('tokenRatio', (ratio) => ratio > 0, 'above 0');
  return maxTokens === undefined || tokenRatio === undefined ? undefined : new RetryBudget({ maxTokens, tokenRatio });
}

function retryPolicy(
  reading: Reading,
  { path, value }: Found,
  budget: RetryBudget | undefined,
  runtime: Runtime,
): Interceptor | undefined {
  const fields = ['maxAttempts', 'initialBackoff', 'maxBackoff', 'backoffMultiplier', 'retryableStatusCodes'];
  const said = reading.object(path, value, fields)?.required();
  const maxAttempts = said?.number('maxAttempts', isAttempts, 'a whole number of at least 2');
  const initialBackoffMs = said?.durationMs('initialBackoff', 'above 0');
  const maxBackoffMs = said?.durationMs('maxBackoff', 'above 0');
  const backoffMultiplier = said?.number('backoffMultiplier', (factor) => factor > 0, 'above 0');
  const codes = said && codesOf(reading, said.list('retryableStatusCodes'));
  if (said?.has('retryableStatusCodes') && codes?.length === 0) {
    reading.wrong(`${path}.retryableStatusCodes`, 'is empty: without a code nothing is retried');
  }
  return reading.problems.length > 0
    ? undefined
    : retry({
        maxAttempts,
        initialBackoffMs,
        maxBackoffMs,
        backoffMultiplier,
        codes,
        budget: budget ?? false,
        runtime,
      });
}

function hedgingPolicy(
  reading: Reading,
  { path, value }: Found,
  budget: RetryBudget | undefined,
  runtime: Runtime,
): Interceptor | undefined {
  const said = reading.object(path, value, ['maxAttempts', 'hedgingDelay', 'nonFatalStatusCodes']);
  const maxAttempts = said?.required().number('maxAttempts', isAttempts, 'a whole number of at least 2');
  const delayMs = said?.durationMs('hedgingDelay', 'at least 0') ?? 0;
  const nonFatalCodes = said && codesOf(reading, said.list('nonFatalStatusCodes'));
  return reading.problems.length > 0
    ? undefined
    : hedge({ maxAttempts, delayMs, nonFatalCodes, budget: budget ?? false, runtime });
}

function isAttempts(value: number): boolean {
  return Number.isInteger(value) && value >= 2;
}

const codesByName = new Map<unknown, Code>(
  Object.values(Code).flatMap((code) => [
    [codeName(code), code],
    [code, code],
  ]),
);

function codesOf(reading: Reading, found: readonly Found[]): readonly Code[] {
  return found.flatMap(({ path, value }) => {
    const code = codesByName.get(typeof value === 'string' ? value.toUpperCase() : value);
    if (code !== undefined && code !== Code.Ok) return [code];
    reading.wrong(
      path,
      `${JSON.stringify(value)} is no code of a failure: give a name such as UNAVAILABLE, or 1 to 16`,
    );
    return [];
  });
}
