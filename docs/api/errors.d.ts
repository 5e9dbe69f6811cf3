// Written by `npm run api`; a test says when it is not current.

// tenon/errors

export declare const Code: {
    readonly Ok: 0;
    readonly Cancelled: 1;
    readonly Unknown: 2;
    readonly InvalidArgument: 3;
    readonly DeadlineExceeded: 4;
    readonly NotFound: 5;
    readonly AlreadyExists: 6;
    readonly PermissionDenied: 7;
    readonly ResourceExhausted: 8;
    readonly FailedPrecondition: 9;
    readonly Aborted: 10;
    readonly OutOfRange: 11;
    readonly Unimplemented: 12;
    readonly Internal: 13;
    readonly Unavailable: 14;
    readonly DataLoss: 15;
    readonly Unauthenticated: 16;
};
export type Code = (typeof Code)[keyof typeof Code];
export declare function codeName(code: Code): string;
export declare function codeFrom(value: unknown): Code;
export interface ErrorDetail {
    readonly type: string;
    readonly value: Uint8Array;
}
export interface TenonErrorInit {
    readonly code: Code;
    readonly reason?: string | undefined;
    readonly message: string;
    readonly details?: readonly ErrorDetail[] | undefined;
    readonly metadata?: Readonly<Record<string, string | Uint8Array>> | undefined;
    readonly cause?: unknown;
}
declare const inspected: unique symbol;
export declare class TenonError extends Error {
    readonly code: Code;
    readonly reason: string | undefined;
    readonly details: readonly ErrorDetail[];
    readonly metadata: Readonly<Record<string, string | Uint8Array>>;
    constructor(init: TenonErrorInit);
    static is(value: unknown): value is TenonError;
    static [Symbol.hasInstance](value: unknown): boolean;
    static from(value: unknown, fallback?: Partial<TenonErrorInit>): TenonError;
    static passOn(value: unknown): TenonError;
    toJSON(): Record<string, unknown>;
    [inspected](depth: number, options: object, inspect: (value: unknown, options: object) => string): string;
    toString(): string;
}
export declare function textOf(value: unknown): string;
export declare function nameOfError(value: unknown): string | undefined;
export {};

// tenon/errors/details

import type { ErrorDetail } from './errors.ts';
export interface DetailType<T> {
    readonly type: string;
    encode(value: T): Uint8Array;
    decode(bytes: Uint8Array): T | undefined;
}
export declare function findDetail<T>(error: {
    readonly details: readonly ErrorDetail[];
}, of: DetailType<T>): T | undefined;
export interface BadRequest {
    readonly fieldViolations: readonly FieldViolation[];
}
export interface FieldViolation {
    readonly field: string;
    readonly description: string;
    readonly reason?: string | undefined;
    readonly localizedMessage?: LocalizedMessage | undefined;
}
export interface RetryInfo {
    readonly retryDelayMs: number;
}
export interface ErrorInfo {
    readonly reason: string;
    readonly domain?: string | undefined;
    readonly metadata?: Readonly<Record<string, string>> | undefined;
}
export interface DebugInfo {
    readonly stackEntries?: readonly string[] | undefined;
    readonly detail?: string | undefined;
}
export interface QuotaFailure {
    readonly violations: readonly QuotaViolation[];
}
export interface QuotaViolation {
    readonly subject: string;
    readonly description: string;
    readonly apiService?: string | undefined;
    readonly quotaMetric?: string | undefined;
    readonly quotaId?: string | undefined;
    readonly quotaDimensions?: Readonly<Record<string, string>> | undefined;
    readonly quotaValue?: number | undefined;
    readonly futureQuotaValue?: number | undefined;
}
export interface PreconditionFailure {
    readonly violations: readonly PreconditionViolation[];
}
export interface PreconditionViolation {
    readonly type: string;
    readonly subject: string;
    readonly description: string;
}
export interface RequestInfo {
    readonly requestId: string;
    readonly servingData?: string | undefined;
}
export interface ResourceInfo {
    readonly resourceType: string;
    readonly resourceName: string;
    readonly owner?: string | undefined;
    readonly description?: string | undefined;
}
export interface Help {
    readonly links: readonly HelpLink[];
}
export interface HelpLink {
    readonly description: string;
    readonly url: string;
}
export interface LocalizedMessage {
    readonly locale: string;
    readonly message: string;
}
export declare const BadRequest: DetailType<BadRequest>;
export declare const RetryInfo: DetailType<RetryInfo>;
export declare const ErrorInfo: DetailType<ErrorInfo>;
export declare const DebugInfo: DetailType<DebugInfo>;
export declare const QuotaFailure: DetailType<QuotaFailure>;
export declare const PreconditionFailure: DetailType<PreconditionFailure>;
export declare const RequestInfo: DetailType<RequestInfo>;
export declare const ResourceInfo: DetailType<ResourceInfo>;
export declare const Help: DetailType<Help>;
export declare const LocalizedMessage: DetailType<LocalizedMessage>;
export declare function badRequest(value: BadRequest): ErrorDetail;
export declare function retryInfo(value: RetryInfo): ErrorDetail;
export declare function errorInfo(value: ErrorInfo): ErrorDetail;
export declare function debugInfo(value: DebugInfo): ErrorDetail;
export declare function quotaFailure(value: QuotaFailure): ErrorDetail;
export declare function preconditionFailure(value: PreconditionFailure): ErrorDetail;
export declare function requestInfo(value: RequestInfo): ErrorDetail;
export declare function resourceInfo(value: ResourceInfo): ErrorDetail;
export declare function help(value: Help): ErrorDetail;
export declare function localizedMessage(value: LocalizedMessage): ErrorDetail;

// errors/checked-options.ts, by tenon/registry/kit

export interface NumberRule {
    readonly min?: number | undefined;
    readonly max?: number | undefined;
    readonly isWhole?: boolean | undefined;
}
