// Written by `npm run api`; a test says when it is not current.

// tenon/health

import type { ServiceIdentifier } from 'inversify';
export type ServingStatus = 'UNKNOWN' | 'SERVING' | 'NOT_SERVING';
export interface Health {
    set(service: string, status: ServingStatus): void;
    clear(service: string): void;
    get(service: string): ServingStatus | undefined;
    names(): readonly string[];
    onChange(listener: () => void): () => void;
}
export declare const Health: ServiceIdentifier<Health>;

// tenon/health/handler

import { type ProtoType } from '../pipeline/pipeline.ts';
import type { ServerHandler } from '../server/server.ts';
import type { ServingStatus } from './health.ts';
import type { ServiceHealth } from './service-health.ts';
export declare const healthProto: import("url").URL;
export declare const healthName = "grpc.health.v1.Health";
export interface CheckResponse {
    readonly status: ServingStatus | 'SERVICE_UNKNOWN';
}
export declare function healthHandler(health: ServiceHealth, findType: (name: string) => ProtoType | undefined): ServerHandler;

// health/service-health.ts, by tenon/health/handler

import type { ServiceRuntime } from '../service/service.ts';
import type { Health, ServingStatus } from './health.ts';
export declare class ServiceHealth {
    #private;
    constructor(service: Pick<ServiceRuntime, 'status' | 'onChange'>, health: Health, { services, followsRegistry, followsBroker }: ServiceHealthOptions);
    names(): readonly string[];
    status(name: string): ServingStatus | undefined;
    watch(name: string): AsyncIterableIterator<ServingStatus | 'SERVICE_UNKNOWN', undefined>;
}
