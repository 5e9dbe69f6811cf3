// Written by `npm run api`; a test says when it is not current.

// tenon/transport

import type { ServiceIdentifier } from 'inversify';
import type { Context } from '../context/context.ts';
import type { Metadata } from '../context/metadata.ts';
import type { PeerCertificate } from '../context/peer-certificate.ts';
import type { Status } from '../context/status.ts';
import type { Code, TenonError } from '../errors/errors.ts';
import type { MethodDescriptor } from '../pipeline/pipeline.ts';
import type { ConnectionSecurityCapabilities } from '../tls/connection.ts';
export declare const defaultMaxMessageBytes: number;
export interface Message {
    readonly headers?: Metadata | undefined;
    readonly body?: Uint8Array | undefined;
    readonly compressed?: boolean | undefined;
    readonly status?: Status | undefined;
}
export interface Socket {
    readonly local: string;
    readonly remote: string;
    readonly peerCertificate?: PeerCertificate | undefined;
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
    readonly compress?: boolean | undefined;
    readonly contentType?: string | undefined;
    readonly waitForReady?: boolean | undefined;
}
export interface ListenOptions {
    readonly routes: readonly MethodDescriptor[];
    readonly resolve?: ((path: string) => MethodDescriptor | undefined) | undefined;
    readonly maxReceiveBytes?: number | undefined;
    readonly maxSendBytes?: number | undefined;
    readonly suggest?: boolean | undefined;
    readonly signal?: AbortSignal | undefined;
}
export interface SocketServerOptions {
    readonly maxConnections?: number | undefined;
    readonly maxHandshakes?: number | undefined;
    readonly backlog?: number | undefined;
    readonly maxUnsentBytesPerConnection?: number | undefined;
    readonly maxUnsentBytes?: number | undefined;
    readonly sendTimeoutMs?: number | undefined;
}
export type Accept = (socket: Socket, route: MethodDescriptor) => void;
export interface Listener {
    addr(): string;
    advertise?(address: string): void;
    accept(accept: Accept): void;
    drain(signal?: AbortSignal): Promise<void>;
    close(): Promise<void>;
}
export interface TransportCapabilities extends ConnectionSecurityCapabilities {
    readonly network: boolean;
    readonly grpc: boolean;
    readonly security?: 'tls' | 'local' | undefined;
}
export interface TransportEncryption {
    readonly client: boolean;
    readonly server: boolean;
}
export interface Transport {
    dial(address: string, options: DialOptions): TransportClient;
    unary?(address: string, message: Message, options: DialOptions): Promise<Message>;
    listen(address: string, options: ListenOptions): Promise<Listener>;
    isSecure?(address: string): boolean;
    readonly encryption?: TransportEncryption | undefined;
    close(): Promise<void>;
    toString(): string;
}
export interface WrappedTransport extends Transport {
    readonly origin: Transport;
}
export declare const Transport: ServiceIdentifier<Transport>;

// tenon/transport/grpc

import { type ServiceIdentifier } from 'inversify';
import type { ConnectionSecurity } from '../tls/connection.ts';
import { GrpcBase } from './grpc/grpc-base.ts';
import type { GrpcOptions } from './grpc/grpc-options.ts';
import type { MakeServerEngine } from './sockets/server-engine.ts';
import type { DialOptions, Message, Transport, TransportCapabilities, TransportClient } from './transport.ts';
export interface GrpcTransportOptions extends GrpcOptions {
    readonly security?: ConnectionSecurity | undefined;
}
export declare const GrpcTransportOptions: ServiceIdentifier<GrpcTransportOptions>;
export declare class GrpcTransport extends GrpcBase<GrpcTransportOptions> implements Transport {
    #private;
    static readonly capabilities: TransportCapabilities;
    constructor(given?: GrpcTransportOptions);
    dial(address: string, options: DialOptions): TransportClient;
    protected call(address: string, message: Message, options: DialOptions): Promise<Message>;
    isSecure(): boolean;
    protected engine(): MakeServerEngine;
    protected closeConnections(): void;
}

// tenon/transport/grpc-js

import { type ServiceIdentifier } from 'inversify';
import { GrpcBase } from './grpc/grpc-base.ts';
import type { GrpcOptions } from './grpc/grpc-options.ts';
import type { MakeServerEngine } from './sockets/server-engine.ts';
import type { DialOptions, Message, Transport, TransportCapabilities, TransportClient } from './transport.ts';
export interface GrpcJsTransportOptions extends GrpcOptions {
    readonly channelOptions?: Readonly<Record<string, string | number>> | undefined;
}
export declare const GrpcJsTransportOptions: ServiceIdentifier<GrpcJsTransportOptions>;
export declare class GrpcJsTransport extends GrpcBase<GrpcJsTransportOptions> implements Transport {
    #private;
    static readonly capabilities: TransportCapabilities;
    constructor(options?: GrpcJsTransportOptions);
    dial(address: string, options: DialOptions): TransportClient;
    protected call(address: string, message: Message, options: DialOptions): Promise<Message>;
    protected engine(): MakeServerEngine;
    protected closeConnections(): void;
}

// tenon/transport/in-process

import type { Runtime } from '../runtime/runtime.ts';
import type { DialOptions, Listener, ListenOptions, Transport, TransportClient, TransportEncryption, WrappedTransport } from './transport.ts';
export interface InProcessTransportOptions {
    readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
export declare class InProcessTransport implements WrappedTransport {
    #private;
    readonly unary?: NonNullable<Transport['unary']>;
    readonly origin: Transport;
    constructor(origin: Transport, options?: InProcessTransportOptions);
    dial(address: string, options: DialOptions): TransportClient;
    listen(address: string, options: ListenOptions): Promise<Listener>;
    get encryption(): TransportEncryption | undefined;
    isSecure(address: string): boolean;
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
    isSecure(): boolean;
    toString(): string;
}

// tenon/transport/nats

import { type ServiceIdentifier } from 'inversify';
import { type ConnectionSecurityOptions } from '../tls/connection.ts';
import { FrameTransport } from './frames/frame-transport.ts';
import type { TcpTransportOptions } from './tcp.ts';
import type { Transport, TransportCapabilities, TransportEncryption } from './transport.ts';
export interface NatsTransportOptions extends Omit<TcpTransportOptions, 'tls' | 'serverTls' | 'backlog'>, ConnectionSecurityOptions {
    readonly address?: string | undefined;
    readonly timeoutMs?: number | undefined;
    readonly prefix?: string | undefined;
    readonly inboxPrefix?: string | undefined;
    readonly keepaliveMs?: number | undefined;
}
export declare const NatsTransportOptions: ServiceIdentifier<NatsTransportOptions>;
export declare class NatsTransport extends FrameTransport implements Transport {
    #private;
    static readonly capabilities: TransportCapabilities;
    constructor(options?: NatsTransportOptions);
    get encryption(): TransportEncryption;
    isSecure(): boolean;
    close(): Promise<void>;
    toString(): string;
}

// tenon/transport/tcp

import { type ServiceIdentifier } from 'inversify';
import { type Logger } from '../logger/logger.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FrameTransport } from './frames/frame-transport.ts';
import type { ClientTlsOptions, ServerTlsOptions } from '../tls/tls.ts';
import type { SocketServerOptions, Transport, TransportCapabilities } from './transport.ts';
export interface TcpTransportOptions extends SocketServerOptions {
    readonly idleMs?: number | undefined;
    readonly maxReconnectMs?: number | undefined;
    readonly handshakeTimeoutMs?: number | undefined;
    readonly keepaliveMs?: number | undefined;
    readonly keepaliveTimeoutMs?: number | undefined;
    readonly serverKeepaliveMs?: number | undefined;
    readonly windowBytes?: number | undefined;
    readonly maxCalls?: number | undefined;
    readonly tls?: ClientTlsOptions | undefined;
    readonly serverTls?: ServerTlsOptions | undefined;
    readonly runtime?: Runtime | undefined;
    readonly logger?: Logger | undefined;
}
export declare const TcpTransportOptions: ServiceIdentifier<TcpTransportOptions>;
export declare class TcpTransport extends FrameTransport implements Transport {
    static readonly capabilities: TransportCapabilities;
    constructor(options?: TcpTransportOptions);
    toString(): string;
}

// tenon/transport/unix

import { type ServiceIdentifier } from 'inversify';
import { FrameTransport } from './frames/frame-transport.ts';
import type { TcpTransportOptions } from './tcp.ts';
import type { Transport, TransportCapabilities } from './transport.ts';
export interface UnixTransportOptions extends Omit<TcpTransportOptions, 'tls' | 'serverTls'> {
    readonly folder?: string | undefined;
}
export declare const UnixTransportOptions: ServiceIdentifier<UnixTransportOptions>;
export declare class UnixTransport extends FrameTransport implements Transport {
    static readonly capabilities: TransportCapabilities;
    constructor(options?: UnixTransportOptions);
    isSecure(): boolean;
    toString(): string;
}

// transport/grpc/grpc-options.ts, by tenon/transport/grpc, tenon/transport/grpc-js

import type { Logger } from '../../logger/logger.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientTlsOptions, ServerTlsOptions } from '../../tls/tls.ts';
import type { SocketServerOptions } from '../transport.ts';
export interface GrpcOptions extends SocketServerOptions {
    readonly idleMs?: number | undefined;
    readonly maxReconnectMs?: number | undefined;
    readonly keepaliveMs?: number | undefined;
    readonly keepaliveTimeoutMs?: number | undefined;
    readonly serverKeepaliveMs?: number | undefined;
    readonly keepaliveWithoutCalls?: boolean | undefined;
    readonly minPingIntervalMs?: number | undefined;
    readonly maxConnectionIdleMs?: number | undefined;
    readonly maxConnectionAgeMs?: number | undefined;
    readonly maxConnectionAgeGraceMs?: number | undefined;
    readonly maxCalls?: number | undefined;
    readonly maxMetadataBytes?: number | undefined;
    readonly tls?: ClientTlsOptions | undefined;
    readonly serverTls?: ServerTlsOptions | undefined;
    readonly runtime?: (Pick<Runtime, 'clock' | 'timers'> & Partial<Runtime>) | undefined;
    readonly logger?: Logger | undefined;
}

// transport/tls.ts, by tenon

import type { ServiceIdentifier } from 'inversify';
import type { ClientTlsOptions, ServerTlsOptions } from '../tls/tls.ts';
export interface TransportTlsOptions {
    readonly client?: ClientTlsOptions | undefined;
    readonly server?: ServerTlsOptions | false | undefined;
}
export declare const TransportTlsOptions: ServiceIdentifier<TransportTlsOptions>;
