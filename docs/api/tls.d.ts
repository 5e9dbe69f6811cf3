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
