// Written by `npm run api`; a test says when it is not current.

// tenon/service

import type { ServiceIdentifier } from 'inversify';
import type { Client } from '../client/client.ts';
import type { Server, ServerOptions } from '../server/server.ts';
export type ServiceState = 'stopped' | 'starting' | 'serving' | 'draining';
export interface ServiceStatus {
    readonly state: ServiceState;
    readonly isRegistered: boolean;
    readonly isSubscribed: boolean;
    readonly isAccepting: boolean;
}
export interface RegistrationStatistics {
    readonly renewals: number;
    readonly restorations: number;
}
export interface ServiceOptions extends ServerOptions {
    readonly registerIntervalMs?: number | undefined;
    readonly registerWorker?: boolean | undefined;
    readonly registerBusyAfterMs?: number | undefined;
    readonly registerBusyMs?: number | undefined;
    readonly lameDuckMs?: number | undefined;
    readonly drainTimeoutMs?: number | undefined;
    readonly stopTimeoutMs?: number | undefined;
    readonly drain?: boolean | undefined;
    readonly beforeStart?: readonly Hook[] | undefined;
    readonly afterStart?: readonly Hook[] | undefined;
    readonly beforeStop?: readonly Hook[] | undefined;
    readonly afterStop?: readonly Hook[] | undefined;
    readonly health?: boolean | undefined;
    readonly healthFollowsRegistry?: boolean | undefined;
    readonly healthFollowsBroker?: boolean | undefined;
    readonly healthFollowsOutages?: boolean | undefined;
    readonly reflection?: boolean | undefined;
}
export declare const ServiceOptions: ServiceIdentifier<ServiceOptions>;
export interface BackendSummary {
    readonly transport: string;
    readonly codec: string;
    readonly registry: string;
    readonly selector: string;
    readonly broker: string;
    readonly profile?: string | undefined;
}
export declare const BackendSummary: ServiceIdentifier<BackendSummary>;
export type Hook = () => void | Promise<void>;
export interface ServiceRuntime {
    readonly options: ServiceOptions;
    readonly state: ServiceState;
    readonly status: ServiceStatus;
    readonly registration: RegistrationStatistics;
    onChange(listener: (status: ServiceStatus) => void): () => void;
    init(options: ServiceOptions): void;
    client(): Client;
    server(): Server;
    start(options?: {
        readonly signal?: AbortSignal;
    }): Promise<void>;
    stop(options?: {
        readonly signal?: AbortSignal;
    }): Promise<void>;
    run(options?: {
        readonly signal?: AbortSignal;
    }): Promise<void>;
    toString(): string;
}
export declare const ServiceRuntime: ServiceIdentifier<ServiceRuntime>;
