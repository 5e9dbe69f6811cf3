// Written by `npm run api`; a test says when it is not current.

// tenon/transport

import type { ServiceIdentifier } from 'inversify';
import type { Context } from '../context/context.ts';
import type { Metadata } from '../context/metadata.ts';
import type { Status } from '../context/status.ts';
import type { Code, TenonError } from '../errors/errors.ts';
import type { MethodDescriptor } from '../pipeline/pipeline.ts';
export declare const defaultMaxMessageBytes: number;
export interface Message {
    readonly headers?: Metadata | undefined;
    readonly body?: Uint8Array | undefined;
    readonly status?: Status | undefined;
}
export interface Socket {
    readonly local: string;
    readonly remote: string;
    readonly deadline: number | undefined;
    send(message: Message): void | Promise<void>;
    recv(): Promise<Message | undefined>;
    end(): void;
    abort(code: Code, message?: string): void;
    close(): void | Promise<void>;
    onAbort(listener: (error: TenonError) => void): void;
}
export interface TransportClient extends Socket {
}
export interface DialOptions {
    readonly route: MethodDescriptor;
    readonly path?: string | undefined;
    readonly ctx?: Context | undefined;
    readonly maxReceiveBytes?: number | undefined;
    readonly maxSendBytes?: number | undefined;
    readonly waitForReady?: boolean | undefined;
}
export interface ListenOptions {
    readonly routes: readonly MethodDescriptor[];
    readonly maxReceiveBytes?: number | undefined;
    readonly maxSendBytes?: number | undefined;
    readonly suggest?: boolean | undefined;
    readonly signal?: AbortSignal | undefined;
}
export type Accept = (socket: Socket, route: MethodDescriptor) => void;
export interface Listener {
    addr(): string;
    accept(accept: Accept): void;
    drain(signal?: AbortSignal): Promise<void>;
    close(): Promise<void>;
}
export interface TransportCapabilities {
    readonly network: boolean;
    readonly grpc: boolean;
}
export interface Transport {
    dial(address: string, options: DialOptions): TransportClient;
    unary?(address: string, message: Message, options: DialOptions): Promise<Message>;
    listen(address: string, options: ListenOptions): Promise<Listener>;
    close(): Promise<void>;
    toString(): string;
}
export declare const Transport: ServiceIdentifier<Transport>;

// tenon/transport/grpc

import { type ChannelCredentials, ServerCredentials } from '@grpc/grpc-js';
import { type ServiceIdentifier } from 'inversify';
import type { Runtime } from '../runtime/runtime.ts';
import type { DialOptions, Listener, ListenOptions, Message, Transport, TransportCapabilities, TransportClient } from './transport.ts';
export interface GrpcTransportOptions {
    readonly idleMs?: number | undefined;
    readonly maxReconnectMs?: number | undefined;
    readonly keepaliveMs?: number | undefined;
    readonly keepaliveTimeoutMs?: number | undefined;
    readonly credentials?: ChannelCredentials | undefined;
    readonly serverCredentials?: ServerCredentials | undefined;
    readonly channelOptions?: Readonly<Record<string, string | number>> | undefined;
    readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
export declare const GrpcTransportOptions: ServiceIdentifier<GrpcTransportOptions>;
export declare class GrpcTransport implements Transport {
    #private;
    static readonly capabilities: TransportCapabilities;
    constructor(options?: GrpcTransportOptions);
    dial(address: string, options: DialOptions): TransportClient;
    unary(address: string, message: Message, options: DialOptions): Promise<Message>;
    listen(address: string, options: ListenOptions): Promise<Listener>;
    close(): Promise<void>;
    toString(): string;
}

// tenon/transport/memory

import { type ServiceIdentifier } from 'inversify';
import type { Runtime } from '../runtime/runtime.ts';
import type { DialOptions, Listener, ListenOptions, Message, Transport, TransportCapabilities, TransportClient } from './transport.ts';
export interface MemoryTransportOptions {
    readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
export declare const MemoryTransportOptions: ServiceIdentifier<MemoryTransportOptions>;
export declare class MemoryTransport implements Transport {
    #private;
    static readonly capabilities: TransportCapabilities;
    constructor(options?: MemoryTransportOptions);
    dial(address: string, options: DialOptions): TransportClient;
    unary(address: string, message: Message, options: DialOptions): Promise<Message>;
    listen(address: string, options: ListenOptions): Promise<Listener>;
    close(): Promise<void>;
    toString(): string;
}
