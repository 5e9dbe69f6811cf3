// Written by `npm run api`; a test says when it is not current.

// tenon/interceptors

export { bearerGuard, type BearerOptions, certificateGuard, type CertificateOptions, type Unauthenticated, principal, } from './authentication.ts';
export { bulkhead, type BulkheadOptions } from './bulkhead.ts';
export { circuitBreaker, type CircuitBreakerOptions } from './circuit-breaker.ts';
export { hedge, type HedgeOptions } from './hedge.ts';
export { logging, type LoggingOptions } from './logging.ts';
export { rateLimit, type RateLimitOptions } from './rate-limit.ts';
export { retry, type RetryOptions } from './retry.ts';
export { RetryBudget, type RetryBudgetOptions } from './retry-budget.ts';
export { type MethodPolicy, ServicePolicies, type ServiceConfig } from './service-config.ts';
export { timeout, type TimeoutOptions } from './timeout.ts';
export { protovalidate } from './protovalidate.ts';
export { validation, type ValidationOptions } from './validation.ts';
export { errorFilterInterceptor, guardInterceptor, interceptorOf, pipeInterceptor, } from '../pipeline/enhancer-interceptors.ts';
export type { FilterRule } from '../pipeline/enhancers.ts';

// interceptors/authentication.ts, by tenon/interceptors

import type { Context, ContextKey } from '../context/context.ts';
import type { PeerCertificate } from '../context/peer-certificate.ts';
import type { Guard } from '../pipeline/enhancers.ts';
export declare const principal: ContextKey<unknown>;
export type Unauthenticated = undefined | null | false;
export interface BearerOptions<P> {
    readonly verify: (token: string, ctx: Context) => P | Unauthenticated | Promise<P | Unauthenticated>;
    readonly as?: ContextKey<P> | undefined;
}
export declare function bearerGuard<P>(options: BearerOptions<P>): Guard;
export interface CertificateOptions<P> {
    readonly verify?: ((certificate: PeerCertificate, ctx: Context) => P | Unauthenticated | Promise<P | Unauthenticated>) | undefined;
    readonly as?: ContextKey<P> | undefined;
}
export declare function certificateGuard<P = PeerCertificate>(options?: CertificateOptions<P>): Guard;

// interceptors/bulkhead.ts, by tenon/interceptors

import type { Context } from '../context/context.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
export interface BulkheadOptions {
    readonly maxConcurrent: number;
    readonly maxQueue?: number | undefined;
    readonly key?: ((ctx: Context) => string) | undefined;
    readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
export declare function bulkhead(options: BulkheadOptions): Interceptor;

// interceptors/circuit-breaker.ts, by tenon/interceptors

import { Code } from '../errors/errors.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
export interface CircuitBreakerOptions {
    readonly per?: 'node' | 'method' | 'service' | undefined;
    readonly codes?: readonly Code[] | undefined;
    readonly failureRatio?: number | undefined;
    readonly minimumCalls?: number | undefined;
    readonly windowMs?: number | undefined;
    readonly openMs?: number | undefined;
    readonly halfOpenCalls?: number | undefined;
    readonly runtime?: Pick<Runtime, 'clock'> | undefined;
}
export declare function circuitBreaker(options?: CircuitBreakerOptions): Interceptor;

// interceptors/hedge.ts, by tenon/interceptors

import { Code } from '../errors/errors.ts';
import { type Interceptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { RetryBudget } from './retry-budget.ts';
export interface HedgeOptions {
    readonly maxAttempts?: number | undefined;
    readonly delayMs?: number | undefined;
    readonly nonFatalCodes?: readonly Code[] | undefined;
    readonly budget?: RetryBudget | false | undefined;
    readonly runtime?: Runtime | undefined;
}
export declare function hedge(options?: HedgeOptions): Interceptor;

// interceptors/logging.ts, by tenon/interceptors

import { Code } from '../errors/errors.ts';
import type { LogLevel } from '../logger/logger.ts';
import type { Interceptor, MethodDescriptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
export interface LoggingOptions {
    readonly level?: ((code: Code, method: MethodDescriptor) => LogLevel) | undefined;
    readonly runtime?: Pick<Runtime, 'clock'> | undefined;
}
export declare function logging(options?: LoggingOptions): Interceptor;

// interceptors/protovalidate.ts, by tenon/interceptors

import type { Interceptor } from '../pipeline/pipeline.ts';
export declare function protovalidate(): Interceptor;

// interceptors/rate-limit.ts, by tenon/interceptors

import type { Context } from '../context/context.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
export interface RateLimitOptions {
    readonly perSecond: number;
    readonly burst?: number | undefined;
    readonly key?: ((ctx: Context) => string) | undefined;
    readonly runtime?: Pick<Runtime, 'clock'> | undefined;
}
export declare function rateLimit(options: RateLimitOptions): Interceptor;

// interceptors/retry.ts, by tenon/interceptors

import { Code } from '../errors/errors.ts';
import { type Interceptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { RetryBudget } from './retry-budget.ts';
export interface RetryOptions {
    readonly maxAttempts?: number | undefined;
    readonly codes?: readonly Code[] | undefined;
    readonly initialBackoffMs?: number | undefined;
    readonly maxBackoffMs?: number | undefined;
    readonly backoffMultiplier?: number | undefined;
    readonly budget?: RetryBudget | false | undefined;
    readonly runtime?: Runtime | undefined;
}
export declare function retry(options?: RetryOptions): Interceptor;

// interceptors/retry-budget.ts, by tenon/interceptors

export interface RetryBudgetOptions {
    readonly maxTokens?: number | undefined;
    readonly tokenRatio?: number | undefined;
}
export declare class RetryBudget {
    #private;
    constructor(options?: RetryBudgetOptions);
    succeeded(service: string): void;
    failed(service: string): void;
    allows(service: string): boolean;
}

// interceptors/service-config.ts, by tenon, tenon/app, tenon/client, tenon/interceptors

import type { Interceptor, MethodDescriptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
export type ConfigCode = string | number;
export type ConfigDuration = string;
export interface ServiceConfig {
    readonly methodConfig?: readonly MethodConfig[] | undefined;
    readonly retryThrottling?: {
        readonly maxTokens: number;
        readonly tokenRatio: number;
    } | undefined;
    readonly loadBalancingPolicy?: unknown;
    readonly loadBalancingConfig?: unknown;
    readonly healthCheckConfig?: unknown;
}
export interface MethodConfig {
    readonly name: readonly {
        readonly service?: string | undefined;
        readonly method?: string | undefined;
    }[];
    readonly waitForReady?: boolean | undefined;
    readonly timeout?: ConfigDuration | undefined;
    readonly maxRequestMessageBytes?: number | undefined;
    readonly maxResponseMessageBytes?: number | undefined;
    readonly retryPolicy?: RetryPolicyConfig | undefined;
    readonly hedgingPolicy?: HedgingPolicyConfig | undefined;
}
export interface RetryPolicyConfig {
    readonly maxAttempts: number;
    readonly initialBackoff: ConfigDuration;
    readonly maxBackoff: ConfigDuration;
    readonly backoffMultiplier: number;
    readonly retryableStatusCodes: readonly ConfigCode[];
}
export interface HedgingPolicyConfig {
    readonly maxAttempts: number;
    readonly hedgingDelay?: ConfigDuration | undefined;
    readonly nonFatalStatusCodes?: readonly ConfigCode[] | undefined;
}
export interface MethodPolicy {
    readonly waitForReady?: boolean | undefined;
    readonly timeoutMs?: number | undefined;
    readonly maxSendBytes?: number | undefined;
    readonly maxReceiveBytes?: number | undefined;
    readonly interceptors: readonly Interceptor[];
}
export declare class ServicePolicies {
    #private;
    constructor(config: ServiceConfig, runtime: Runtime);
    of(method: Pick<MethodDescriptor, 'service' | 'method'>): MethodPolicy;
}

// interceptors/timeout.ts, by tenon/interceptors

import { type Interceptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
export interface TimeoutOptions {
    readonly timeoutMs: number;
    readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
export declare function timeout(options: TimeoutOptions): Interceptor;

// interceptors/validation.ts, by tenon/interceptors

import type { StandardSchemaV1 } from '@standard-schema/spec';
import { type Interceptor } from '../pipeline/pipeline.ts';
export interface ValidationOptions {
    readonly input?: StandardSchemaV1 | undefined;
    readonly output?: StandardSchemaV1 | undefined;
}
export declare function validation(options?: ValidationOptions): Interceptor;
