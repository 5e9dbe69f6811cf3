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

// tenon/tls/client-tls

import { type ConnectionOptions } from 'node:tls';
import { type TlsOwner, type TlsSeams } from './material.ts';
import type { ClientTlsOptions } from './tls.ts';
export declare class ClientTls {
    #private;
    readonly connectionOptions: ConnectionOptions;
    constructor(options: ClientTlsOptions, owner: TlsOwner, seams: TlsSeams);
    explain(error: Error, host: string): string;
    close(): void;
}

// tenon/tls/failures

export interface TlsHandshake {
    readonly serverName: string;
    readonly hasIdentity: boolean;
    readonly variables?: string | undefined;
}
export declare function whyTlsFailed(error: Error, handshake: TlsHandshake): string;
export declare function whyTls(text: string): string | undefined;

// tenon/tls/material

import { type SecureContextOptions } from 'node:tls';
import { TenonError } from '../errors/errors.ts';
import type { Logger } from '../logger/logger.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { TlsOptions } from './tls.ts';
export interface TlsSeams {
    readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
    readonly logger: Logger;
}
export interface TlsOwner {
    readonly name: string;
    readonly variables?: string | undefined;
}
declare const parts: {
    readonly cert: 'certificate';
    readonly key: 'private key';
    readonly ca: 'certificate authorities';
};
type Part = keyof typeof parts;
export declare class TlsMaterial {
    #private;
    constructor(options: TlsOptions, owner: TlsOwner, seams: TlsSeams);
    get current(): SecureContextOptions;
    watch(changed?: () => void): void;
    close(): void;
}
export declare function invalidTls(owner: TlsOwner, why: string, cause?: unknown): TenonError;
export declare function remedyFor(part: Part, { variables }: TlsOwner): string;
export {};
