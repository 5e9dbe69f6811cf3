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
export declare class TenonError extends Error {
    readonly code: Code;
    readonly reason: string | undefined;
    readonly details: readonly ErrorDetail[];
    readonly metadata: Readonly<Record<string, string | Uint8Array>>;
    constructor(init: TenonErrorInit);
    static is(value: unknown): value is TenonError;
    static [Symbol.hasInstance](value: unknown): boolean;
    static from(value: unknown, fallback?: Partial<TenonErrorInit>): TenonError;
    toString(): string;
}
export declare function textOf(value: unknown): string;

// tenon/errors/status-details

import { Code, type ErrorDetail } from './errors.ts';
export interface RichStatus {
    readonly code: Code;
    readonly message: string;
    readonly details: readonly ErrorDetail[];
}
export declare function encodeRichStatus(status: RichStatus): Uint8Array;
export declare function decodeRichStatus(bytes: Uint8Array): RichStatus | undefined;
