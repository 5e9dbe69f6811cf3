// Written by `npm run api`; a test says when it is not current.

// tenon/codec

import type { ServiceIdentifier } from 'inversify';
import type { MessageLimits as Limits, Schema } from '../pipeline/pipeline.ts';
export interface Marshaler {
    readonly contentType: string;
    marshal(schema: Schema, value: unknown): Uint8Array;
    unmarshal(schema: Schema, bytes: Uint8Array): unknown;
}
export declare const Marshaler: ServiceIdentifier<Marshaler>;
export declare const DefaultMarshaler: ServiceIdentifier<Marshaler>;
export type MessageLimits = Limits;
export declare const MessageLimits: ServiceIdentifier<MessageLimits>;
export declare const MessageType: {
    readonly Error: 0;
    readonly Request: 1;
    readonly Response: 2;
    readonly Event: 3;
};
export type MessageType = (typeof MessageType)[keyof typeof MessageType];
export interface MessageHeader {
    id: string;
    type: MessageType;
    target: string;
    method: string;
    endpoint: string;
    error: string;
    header: Record<string, string>;
}
export interface Codec {
    readHeader(message: MessageHeader, type: MessageType): Promise<boolean>;
    readBody(schema?: Schema): Promise<unknown>;
    write(message: MessageHeader, body: unknown, schema?: Schema): Promise<void>;
    close(): Promise<void>;
    toString(): string;
}
export declare const Codec: ServiceIdentifier<Codec>;
export interface MessageStream {
    read(): Promise<{
        readonly header: MessageHeader;
        readonly body: Uint8Array;
    } | undefined>;
    write(message: {
        readonly header: MessageHeader;
        readonly body: Uint8Array;
    }): Promise<void>;
    close(): Promise<void>;
}

// tenon/codec/bytes

import type { Schema } from '../pipeline/pipeline.ts';
import type { Marshaler } from './codec.ts';
export declare class BytesMarshaler implements Marshaler {
    readonly contentType = "application/grpc+bytes";
    marshal(schema: Schema, value: unknown): Uint8Array;
    unmarshal(_schema: Schema, bytes: Uint8Array): unknown;
}

// tenon/codec/cbor

import { CborReader } from './cbor/reader.ts';
import { CborWriter } from './cbor/writer.ts';
import { type Marshaler, MessageLimits } from './codec.ts';
import { BinaryMarshaler } from './internal/binary-marshaler.ts';
export declare class CborMarshaler extends BinaryMarshaler implements Marshaler {
    readonly contentType = "application/grpc+cbor";
    constructor(limits?: MessageLimits);
    protected writer(maxDepth: number): CborWriter;
    protected reader(bytes: Uint8Array, maxElements: number, maxDepth: number): CborReader;
}

// tenon/codec/json

import type { Schema } from '../pipeline/pipeline.ts';
import { type Marshaler, MessageLimits } from './codec.ts';
export declare class JsonMarshaler implements Marshaler {
    #private;
    readonly contentType = "application/grpc+json";
    constructor(limits?: MessageLimits);
    marshal(schema: Schema, value: unknown): Uint8Array;
    unmarshal(schema: Schema, bytes: Uint8Array): unknown;
}

// tenon/codec/marshaler-codec

import { type Schema } from '../pipeline/pipeline.ts';
import type { Codec, Marshaler, MessageHeader, MessageStream, MessageType } from './codec.ts';
export declare class MarshalerCodec implements Codec {
    #private;
    constructor(marshaler: Marshaler, stream: MessageStream);
    readHeader(message: MessageHeader, _type: MessageType): Promise<boolean>;
    readBody(schema?: Schema): Promise<unknown>;
    write(message: MessageHeader, body: unknown, schema?: Schema): Promise<void>;
    close(): Promise<void>;
    toString(): string;
}

// tenon/codec/msgpack

import { type Marshaler, MessageLimits } from './codec.ts';
import { BinaryMarshaler } from './internal/binary-marshaler.ts';
import { MsgpackReader } from './msgpack/reader.ts';
import { MsgpackWriter } from './msgpack/writer.ts';
export declare class MsgpackMarshaler extends BinaryMarshaler implements Marshaler {
    readonly contentType = "application/grpc+msgpack";
    constructor(limits?: MessageLimits);
    protected writer(maxDepth: number): MsgpackWriter;
    protected reader(bytes: Uint8Array, maxElements: number, maxDepth: number): MsgpackReader;
}

// tenon/codec/proto

import type { MethodDescriptor, ProtoType, Schema } from '../pipeline/pipeline.ts';
import { type Marshaler, MessageLimits } from './codec.ts';
import type { Int64 } from './internal/generate-reader.ts';
export interface LoadProtoOptions {
    readonly includeDirs?: readonly string[] | undefined;
    readonly int64?: Int64 | undefined;
}
export interface ProtoService {
    readonly fullName: string;
    readonly methods: readonly MethodDescriptor[];
}
export interface ProtoFile {
    readonly package: string;
    readonly services: readonly ProtoService[];
    readonly fileDescriptors: readonly Uint8Array[];
    type(name: string): ProtoType | undefined;
    service(name: string): ProtoService | undefined;
}
export declare function loadProto(source: string | URL | readonly (string | URL)[], options?: LoadProtoOptions): ProtoFile;
export declare class ProtoMarshaler implements Marshaler {
    #private;
    readonly contentType = "application/grpc+proto";
    constructor(limits?: MessageLimits);
    marshal(schema: Schema, value: unknown): Uint8Array;
    unmarshal(schema: Schema, bytes: Uint8Array): unknown;
}

// tenon/codec/time

export declare class Timestamp extends Date {
    readonly nanos: number;
    constructor(seconds: bigint | number, nanos?: number);
    toJSON(): string;
}
export interface Duration {
    readonly seconds: bigint;
    readonly nanos: number;
}
export declare function durationFromMs(ms: number): Duration;
export declare function durationToMs(duration: Duration): number;
export interface Instant {
    readonly seconds: bigint;
    readonly nanos: number;
}
export declare function instantToDate({ seconds, nanos }: Instant): Date;
export declare function dateToInstant(value: unknown): Instant;
export declare function checkDuration(seconds: bigint, nanos: number): void;
export declare function formatTimestamp(value: unknown): string;
export declare function parseTimestamp(text: unknown): Date;
export declare function formatDuration(seconds: bigint, nanos: number): string;
export declare function parseDuration(text: unknown): Duration;

// codec/internal/generate-reader.ts, by tenon/codec/proto

import type { Converter } from './converter.ts';
import { type Field } from './message-fields.ts';
export type Int64 = 'bigint' | 'string' | 'number';
