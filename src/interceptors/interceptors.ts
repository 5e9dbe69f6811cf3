export {
  bearerGuard,
  type BearerOptions,
  certificateGuard,
  type CertificateOptions,
  type Unauthenticated,
  principal,
} from './authentication.ts';
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
export {
  errorFilterInterceptor,
  guardInterceptor,
  interceptorOf,
  pipeInterceptor,
} from '../pipeline/enhancer-interceptors.ts';
export type { FilterRule } from '../pipeline/enhancers.ts';
