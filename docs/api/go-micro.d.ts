// Written by `npm run api`; a test says when it is not current.

// tenon/go-micro

import type { DetailType } from '../errors/details.ts';
import { TenonError } from '../errors/errors.ts';
export declare const dialects: readonly ['grpc', 'go-micro'];
export type Dialect = (typeof dialects)[number];
export type BrokerDialect = 'native' | 'go-micro';
export type RegistryDialect = 'native' | 'go-micro';
export interface MicroError {
    readonly id: string;
    readonly code: number;
    readonly detail: string;
    readonly status: string;
}
export declare const MicroError: DetailType<MicroError>;
export interface MicroErrorInit {
    readonly id: string;
    readonly code: number;
    readonly detail: string;
    readonly status?: string | undefined;
    readonly cause?: unknown;
}
export declare function microError({ id, code, detail, status, cause }: MicroErrorInit): TenonError;

// go-micro/event-envelope.ts, by tenon/broker/kit

export interface EventContent {
    readonly headers: Readonly<Record<string, string>>;
    readonly body: Uint8Array;
}
