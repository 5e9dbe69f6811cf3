// Written by `npm run api`; a test says when it is not current.

// tenon/tls

export interface TlsOptions {
    readonly certFile?: string | undefined;
    readonly keyFile?: string | undefined;
    readonly caFile?: string | undefined;
    readonly cert?: string | Uint8Array | undefined;
    readonly key?: string | Uint8Array | undefined;
    readonly ca?: string | Uint8Array | undefined;
    readonly minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;
    readonly reloadMs?: number | undefined;
    readonly handshakeTimeoutMs?: number | undefined;
}
export type ClientAuth = 'none' | 'request' | 'require';
export interface ServerTlsOptions extends TlsOptions {
    readonly clientAuth?: ClientAuth | undefined;
}
export interface ClientTlsOptions extends TlsOptions {
    readonly serverName?: string | undefined;
}
export interface ConnectionTlsOptions extends ClientTlsOptions {
    readonly insecureSkipVerify?: boolean | undefined;
}

// tls/connection.ts, by tenon, tenon/app, tenon/broker, tenon/registry, tenon/store/redis, tenon/transport/nats, tenon/transport, tenon/broker/kit, tenon/registry/kit, tenon/registry/kit/grpc-channel, tenon/registry/kit/http-channel, tenon/transport/grpc

import type { ConnectionOptions } from 'node:tls';
import type { TlsOwner, TlsSeams } from './material.ts';
import type { ConnectionTlsOptions } from './tls.ts';
export interface ConnectionCredentials {
    readonly username?: string | undefined;
    readonly password?: string | undefined;
    readonly passwordFile?: string | undefined;
    readonly token?: string | undefined;
    readonly tokenFile?: string | undefined;
}
export interface ConnectionSecurityOptions {
    readonly tls?: ConnectionTlsOptions | undefined;
    readonly credentials?: ConnectionCredentials | undefined;
}
export type CredentialKind = 'password' | 'token';
export interface ConnectionSecurityCapabilities {
    readonly tls?: boolean | undefined;
    readonly credentials?: readonly CredentialKind[] | undefined;
}
export declare class ConnectionSecurity {
    #private;
    constructor(options: ConnectionSecurityOptions, owner: Required<TlsOwner>, seams: TlsSeams);
    get tls(): ConnectionOptions | undefined;
    get tlsOfAddress(): ConnectionOptions;
    get hasTls(): boolean;
    get handshakeTimeoutMs(): number | undefined;
    get hasCredentials(): boolean;
    get username(): string | undefined;
    get password(): string | undefined;
    get token(): string | undefined;
    explain(error: unknown, host: string, wasAnswered: boolean): string | undefined;
    close(): void;
}
