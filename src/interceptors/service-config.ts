import { Code, codeName, TenonError } from '../errors/errors.ts';
import type { Interceptor, MethodDescriptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { hedge } from './hedge.ts';
import { type ConfigValue, ConfigReader } from './internal/config-reader.ts';
import { retry } from './retry.ts';
import { RetryBudget } from './retry-budget.ts';

/** A code by its name or its number: `UNAVAILABLE`, 14. */
export type ConfigCode = string | number;

/** A duration as proto JSON writes it: `1.5s`. */
export type ConfigDuration = string;

/**
 * A service config: policies per method as data, in gRPC's own format (grpc: service_config.proto, and A6 for
 * `retryPolicy`, `hedgingPolicy` and `retryThrottling`).
 *
 * The fields for gRPC's own name resolution (`loadBalancingConfig`, `loadBalancingPolicy`, `healthCheckConfig`) are
 * accepted and have no effect: the selector chooses nodes.
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
  /** The retry budget. Each service that is called has one of its own. */
  readonly retryThrottling?: { readonly maxTokens: number; readonly tokenRatio: number } | undefined;
  readonly loadBalancingPolicy?: unknown;
  readonly loadBalancingConfig?: unknown;
  readonly healthCheckConfig?: unknown;
}

/** The policy for the methods that it names. */
export interface MethodConfig {
  /**
   * The methods of this entry: one method, all of a service if `method` is left out, or every method if `service` is
   * left out too. The most specific entry counts.
   */
  readonly name: readonly { readonly service?: string | undefined; readonly method?: string | undefined }[];
  readonly waitForReady?: boolean | undefined;
  /** Time-out of each call; a shorter one given with the call stays. */
  readonly timeout?: ConfigDuration | undefined;
  readonly maxRequestMessageBytes?: number | undefined;
  readonly maxResponseMessageBytes?: number | undefined;
  readonly retryPolicy?: RetryPolicyConfig | undefined;
  /** Hedging, which cannot be combined with `retryPolicy`. */
  readonly hedgingPolicy?: HedgingPolicyConfig | undefined;
}

/** gRPC's retry policy (A6). Only calls that are safe to repeat are: see {@link retry}. */
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

/** The policy of one method, read from a service config. */
export interface MethodPolicy {
  readonly waitForReady?: boolean | undefined;
  readonly timeoutMs?: number | undefined;
  readonly maxSendBytes?: number | undefined;
  readonly maxReceiveBytes?: number | undefined;
  /** The interceptors for retries or hedging, which are the method's innermost. */
  readonly interceptors: readonly Interceptor[];
}

const noPolicy: MethodPolicy = { interceptors: [] };

/** The policies of a service config, by method. */
export class ServicePolicies {
  /** Policies by the path of a method, by `/service/`, and by `/`. */
  readonly #policies = new Map<string, MethodPolicy>();

  /**
   * Throws INVALID_ARGUMENT (`interceptors.invalid_service_config`) that lists every mistake with its path.
   */
  constructor(config: ServiceConfig, runtime: Runtime) {
    const reader = new ConfigReader();
    const root = reader.object('', config, [
      'methodConfig',
      'retryThrottling',
      'loadBalancingPolicy',
      'loadBalancingConfig',
      'healthCheckConfig',
    ]);
    const budget = root && throttling(reader, root);
    for (const entry of root?.list('methodConfig') ?? []) this.#read(reader, entry, budget, runtime);
    if (reader.problems.length === 0) return;
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'interceptors.invalid_service_config',
      message: `the service config has mistakes:\n${reader.problems.map((problem) => `- ${problem}`).join('\n')}`,
    });
  }

  of(method: Pick<MethodDescriptor, 'service' | 'method'>): MethodPolicy {
    const policies = this.#policies;
    return (
      policies.get(`/${method.service}/${method.method}`) ??
      policies.get(`/${method.service}/`) ??
      policies.get('/') ??
      noPolicy
    );
  }

  #read(reader: ConfigReader, entry: ConfigValue, budget: RetryBudget | undefined, runtime: Runtime): void {
    const given = reader.object(entry.path, entry.value, [
      'name',
      'waitForReady',
      'timeout',
      'maxRequestMessageBytes',
      'maxResponseMessageBytes',
      'retryPolicy',
      'hedgingPolicy',
    ]);
    if (!given) return;
    const retryInterceptor = given.has('retryPolicy')
      ? retryPolicy(reader, given.valueOf('retryPolicy'), budget, runtime)
      : undefined;
    const hedgeInterceptor = given.has('hedgingPolicy')
      ? hedgingPolicy(reader, given.valueOf('hedgingPolicy'), budget, runtime)
      : undefined;
    if (given.has('retryPolicy') && given.has('hedgingPolicy')) {
      reader.wrong(entry.path, 'has both retryPolicy and hedgingPolicy: give one of them');
    }
    const policy: MethodPolicy = {
      waitForReady: given.boolean('waitForReady'),
      timeoutMs: given.durationMs('timeout', 'above 0'),
      maxSendBytes: given.number(
        'maxRequestMessageBytes',
        (value) => Number.isInteger(value) && value >= 0,
        'a number of bytes',
      ),
      maxReceiveBytes: given.number(
        'maxResponseMessageBytes',
        (value) => Number.isInteger(value) && value >= 0,
        'a number of bytes',
      ),
      interceptors: [retryInterceptor, hedgeInterceptor].filter((one) => one !== undefined),
    };
    const names = given.list('name');
    if (names.length === 0) reader.wrong(`${entry.path}.name`, 'names nothing: give [{}] for every method');
    for (const name of names) this.#name(reader, name, policy);
  }

  #name(reader: ConfigReader, name: ConfigValue, policy: MethodPolicy): void {
    const given = reader.object(name.path, name.value, ['service', 'method']);
    if (!given) return;
    const service = given.text('service') ?? '';
    const method = given.text('method') ?? '';
    if (service === '' && method !== '') {
      reader.wrong(name.path, `names the method ${method} of no service: give the service too`);
      return;
    }
    const key = service === '' ? '/' : `/${service}/${method}`;
    if (this.#policies.has(key)) reader.wrong(name.path, `${key === '/' ? 'everything' : key} is named twice`);
    this.#policies.set(key, policy);
  }
}

function throttling(reader: ConfigReader, root: ReturnType<ConfigReader['object']>): RetryBudget | undefined {
  if (!root?.has('retryThrottling')) return undefined;
  const { path, value } = root.valueOf('retryThrottling');
  const given = reader.object(path, value, ['maxTokens', 'tokenRatio']);
  const maxTokens = given
    ?.required()
    .number('maxTokens', (tokens) => tokens > 0 && tokens <= 1000, 'above 0, up to 1000');
  const tokenRatio = given?.required().number('tokenRatio', (ratio) => ratio > 0, 'above 0');
  return maxTokens === undefined || tokenRatio === undefined ? undefined : new RetryBudget({ maxTokens, tokenRatio });
}

function retryPolicy(
  reader: ConfigReader,
  { path, value }: ConfigValue,
  budget: RetryBudget | undefined,
  runtime: Runtime,
): Interceptor | undefined {
  const fields = ['maxAttempts', 'initialBackoff', 'maxBackoff', 'backoffMultiplier', 'retryableStatusCodes'];
  const given = reader.object(path, value, fields)?.required();
  const maxAttempts = given?.number('maxAttempts', isAttempts, 'a whole number of at least 2');
  const initialBackoffMs = given?.durationMs('initialBackoff', 'above 0');
  const maxBackoffMs = given?.durationMs('maxBackoff', 'above 0');
  const backoffMultiplier = given?.number('backoffMultiplier', (factor) => factor > 0, 'above 0');
  const codes = given && codesOf(reader, given.list('retryableStatusCodes'));
  if (given?.has('retryableStatusCodes') && codes?.length === 0) {
    reader.wrong(`${path}.retryableStatusCodes`, 'is empty: without a code nothing is retried');
  }
  return reader.problems.length > 0
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
  reader: ConfigReader,
  { path, value }: ConfigValue,
  budget: RetryBudget | undefined,
  runtime: Runtime,
): Interceptor | undefined {
  const given = reader.object(path, value, ['maxAttempts', 'hedgingDelay', 'nonFatalStatusCodes']);
  const maxAttempts = given?.required().number('maxAttempts', isAttempts, 'a whole number of at least 2');
  const delayMs = given?.durationMs('hedgingDelay', 'at least 0') ?? 0;
  const nonFatalCodes = given && codesOf(reader, given.list('nonFatalStatusCodes'));
  return reader.problems.length > 0
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

function codesOf(reader: ConfigReader, found: readonly ConfigValue[]): readonly Code[] {
  return found.flatMap(({ path, value }) => {
    const code = codesByName.get(typeof value === 'string' ? value.toUpperCase() : value);
    if (code !== undefined && code !== Code.Ok) return [code];
    reader.wrong(
      path,
      `${JSON.stringify(value)} is not a code of a failure: give a name such as UNAVAILABLE, or 1 to 16`,
    );
    return [];
  });
}
