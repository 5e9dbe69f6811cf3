// Written by `npm run api`; a test says when it is not current.

// tenon/go-micro

import type { DetailType } from '../errors/details.ts';
import { TenonError } from '../errors/errors.ts';
export declare const dialects: readonly ['grpc', 'go-micro'];
export type Dialect = (typeof dialects)[number];
export type BrokerDialect = 'native' | 'go-micro';
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

// tenon/go-micro/call-headers

export declare const contentTypeKey = "x-content-type";
export declare const timeoutKey = "timeout";
export declare const hiddenKeys: ReadonlySet<string>;
export declare function isMicroCall(headers: {
    get(key: string): unknown;
}): boolean;
export declare function grpcContentType(contentType: string): string;
export declare function readTimeout(nanoseconds: string | undefined): number | undefined;
export declare function writeTimeout(ms: number): string;
export declare function isForwarded(key: string): boolean;

// tenon/go-micro/errors

import { Code, TenonError } from '../errors/errors.ts';
import { MicroError } from './go-micro.ts';
type ToldParts = Pick<TenonError, 'code' | 'message' | 'reason' | 'details' | 'metadata'>;
export declare function toMicroForm(error: ToldParts, id: string): ToldParts;
export declare function fromMicroForm(error: TenonError): TenonError;
export declare function firstMicroError(details: ToldParts['details']): MicroError | undefined;
export declare function partsOf(code: Code, micro: MicroError): Pick<TenonError, 'code' | 'message'>;
export {};

// tenon/go-micro/event-envelope

export declare const topicHeader = "Micro-Topic";
export declare const contentTypeHeader = "Content-Type";
export interface EventContent {
    readonly headers: Readonly<Record<string, string>>;
    readonly body: Uint8Array;
}
export declare function writeEnvelope(topic: string, headers: EventContent['headers'], body: Uint8Array): string;
export declare function readEnvelope(payload: Buffer): EventContent | undefined;

// tenon/go-micro/http-codes

import { Code } from '../errors/errors.ts';
export declare function codeOfHttp(code: number): Code;
export declare function httpCodeOf(code: Code): number;
export declare function reasonPhrase(code: number): string;

// tenon/go-micro/mdns

export declare const mdnsDomain = "micro";
export declare const mdnsTtlS = 120;
export declare const srvOrder: {
    readonly priority: 10;
    readonly weight: 1;
};
export declare const placeholderPort = 9999;
export declare function enumerationName(domain: string): string;
export interface TxtFields {
    readonly Metadata: Readonly<Record<string, string>>;
    readonly Service: string;
    readonly Version: string;
    readonly Endpoints: readonly object[];
    readonly Id?: string;
    readonly Address?: string;
    readonly ServiceMetadata?: Readonly<Record<string, string>>;
}
export declare function encodeTxtFields(fields: TxtFields): string;
export declare function decompressTxt(hex: string, maxBytes: number): Buffer;

// tenon/go-micro/paths

export declare function typeName(service: string): string;
export declare function endpointName(service: string, method: string): string;
export declare function shortPath(path: string): string;
export declare function callPath(registryName: string, path: string): string;

// tenon/go-micro/records

export declare const describedLevels = 2;
export interface DescribedField {
    readonly type: string;
    readonly repeated: boolean;
    readonly map: boolean;
}
export declare function fieldType(field: DescribedField): string;
export declare const streamMetadata: Readonly<Record<string, string>>;
export declare function subscriberMetadata(topic: string): Readonly<Record<string, string>>;
export interface NodeParts {
    readonly broker: string;
    readonly registry: string;
    readonly transport: string;
}
export declare function nodeMetadata({ broker, registry, transport }: NodeParts): Readonly<Record<string, string>>;
