// Written by `npm run api`; a test says when it is not current.

// tenon/app

export { backendNames, type Backends } from './backends.ts';
export { type Choice } from './choices.ts';
export { type BackendChoice, type Config } from './config.ts';
export { type Problem } from './describe.ts';
export type { BackendRoom } from './internal/backend-row.ts';
export { type AppOptions } from './options.ts';
export { type Profile } from './profiles.ts';
export { run, type RunOptions } from './run.ts';
export { System } from './system.ts';
export { wrap } from './wrap.ts';
export { type Note, verify, type VerifyReport } from './verify.ts';

// app/backends.ts, by tenon, tenon/app

import type { Newable } from 'inversify';
import type { Broker } from '../broker/broker.ts';
import type { Marshaler } from '../codec/codec.ts';
import type { Registry } from '../registry/registry.ts';
import type { Selector } from '../selector/selector.ts';
import type { Transport } from '../transport/transport.ts';
import type { Backend, BackendRoom, BackendSettings } from './internal/backend-row.ts';
interface Contracts {
    readonly transport: Transport;
    readonly codec: Marshaler;
    readonly registry: Registry;
    readonly selector: Selector;
    readonly broker: Broker;
}
export type Backends = {
    readonly [R in BackendRoom]?: Readonly<Record<string, Newable<Contracts[R]>>> | undefined;
};
export declare function backendNames(room: BackendRoom, own?: Backends): readonly string[];

// app/choices.ts, by tenon, tenon/app

import type { ServiceIdentifier } from 'inversify';
import type { Class } from '../decorators/decorators.ts';
import type { Config } from './config.ts';
import type { OptionParts } from './internal/option-parts.ts';
export interface Choice {
    readonly kind: 'profile' | 'binding' | 'option';
    readonly name: string;
    readonly value: string;
    readonly origin: string;
}

// app/config.ts, by tenon, tenon/app

import type { ClientOptions } from '../client/client.ts';
import type { MessageLimits } from '../codec/codec.ts';
import type { LogLevel } from '../logger/logger.ts';
import type { ServerOptions } from '../server/server.ts';
import type { ServiceOptions } from '../service/service.ts';
import type { ConnectionSecurityOptions } from '../tls/connection.ts';
import type { ClientTlsOptions, ServerTlsOptions } from '../tls/tls.ts';
import { type Backends } from './backends.ts';
import type { AddressedRoom, BackendSettings } from './internal/backend-row.ts';
import { type ProfileName } from './internal/variable-list.ts';
export interface BackendChoice {
    readonly name: string;
    readonly address?: string | undefined;
    readonly settings?: BackendSettings | undefined;
    readonly security?: ConnectionSecurityOptions | undefined;
}
export interface Config {
    readonly profile: ProfileName;
    readonly stated: readonly string[];
    readonly transport: string;
    readonly transportServer: BackendChoice;
    readonly inProcess: boolean;
    readonly codec: string;
    readonly messages: MessageLimits;
    readonly registry: BackendChoice;
    readonly selector: string;
    readonly zone: string | undefined;
    readonly broker: BackendChoice;
    readonly log: {
        readonly level: LogLevel;
        readonly format: 'text' | 'json';
    };
    readonly tls: {
        readonly client: ClientTlsOptions;
        readonly server: ServerTlsOptions;
    } | undefined;
    readonly client: ClientOptions;
    readonly server: ServerOptions;
    readonly health: boolean;
    readonly reflection: boolean;
    readonly service: ServiceOptions;
}

// app/describe.ts, by tenon, tenon/app

import type { ProtoFile } from '../codec/proto.ts';
import { clientSourceOf, type ClientSource } from '../client/client-of.ts';
import { type Class, type MessageSchema, type ProtoSource } from '../decorators/decorators.ts';
import { type Interceptor, type MethodDescriptor, type Schema } from '../pipeline/pipeline.ts';
import type { EventHandlerOptions } from '../server/server.ts';
export interface Problem {
    readonly kind: string;
    readonly where: string;
    readonly message: string;
    readonly fix: string;
}

// app/internal/backend-row.ts, by tenon, tenon/app

import type { Newable, ServiceIdentifier } from 'inversify';
import type { ConnectionSecurityOptions } from '../../tls/connection.ts';
import type { Parsed, Variable } from './variables.ts';
export type BackendRoom = 'transport' | 'codec' | 'registry' | 'selector' | 'broker';
export interface BackendSettings extends ConnectionSecurityOptions {
    readonly [option: string]: Parsed | ConnectionSecurityOptions[keyof ConnectionSecurityOptions];
    readonly address?: string | undefined;
}

// app/internal/variable-list.ts, by tenon, tenon/app

import type { Variable } from './variables.ts';
export type ProfileName = (typeof profileNames)[number];
type Named<Name> = Variable & {
    readonly name: Name;
};
type NonEmpty<Name> = readonly [Named<Name>, ...Named<Name>[]];
declare const choices: NonEmpty<"TENON_BROKER" | "TENON_BROKER_ADDRESS" | "TENON_CODEC" | "TENON_PROFILE" | "TENON_REGISTRY" | "TENON_REGISTRY_ADDRESS" | "TENON_SELECTOR" | "TENON_TRANSPORT" | "TENON_TRANSPORT_ADDRESS" | "TENON_ZONE">;
declare const others: NonEmpty<"TENON_CLIENT_COMPRESS" | "TENON_CLIENT_DIALECT" | "TENON_CLIENT_INSECURE_CREDENTIALS" | "TENON_CLIENT_SERVICE_CONFIG" | "TENON_CLIENT_TIMEOUT_MS" | "TENON_DRAIN" | "TENON_DRAIN_TIMEOUT_MS" | "TENON_EXPOSE_ERRORS" | "TENON_HEALTH" | "TENON_HEALTH_FOLLOWS_BROKER" | "TENON_HEALTH_FOLLOWS_OUTAGES" | "TENON_HEALTH_FOLLOWS_REGISTRY" | "TENON_IN_PROCESS" | "TENON_LAME_DUCK_MS" | "TENON_LOG_FORMAT" | "TENON_LOG_LEVEL" | "TENON_MAX_DEPTH" | "TENON_MAX_ELEMENTS" | "TENON_MAX_RECEIVE_BYTES" | "TENON_MAX_SEND_BYTES" | "TENON_REFLECTION" | "TENON_REGISTER" | "TENON_REGISTER_BUSY_AFTER_MS" | "TENON_REGISTER_BUSY_MS" | "TENON_REGISTER_INTERVAL_MS" | "TENON_REGISTER_TTL_MS" | "TENON_REGISTER_WORKER" | "TENON_REQUIRE_BACKENDS" | "TENON_SERVER_ADDRESS" | "TENON_SERVER_ADVERTISE" | "TENON_SERVER_COMPRESS" | "TENON_SERVER_DIALECT" | "TENON_SERVER_ID" | "TENON_SERVER_METADATA" | "TENON_SERVER_NAME" | "TENON_STOP_TIMEOUT_MS" | "TENON_SUGGEST" | "TENON_TLS" | "TENON_TLS_CA_FILE" | "TENON_TLS_CERT_FILE" | "TENON_TLS_CLIENT_AUTH" | "TENON_TLS_KEY_FILE" | "TENON_TLS_SERVER_NAME">;

// app/internal/variables.ts, by tenon, tenon/app

import type { ServiceConfig } from '../../interceptors/interceptors.ts';
export type Parsed = string | number | boolean | Readonly<Record<string, string>> | ServiceConfig | {
    readonly name: string;
    readonly address?: string | undefined;
};
type Result = {
    readonly value: Parsed;
} | {
    readonly problem: string;
};

// app/options.ts, by tenon, tenon/app

import type { Container, ContainerModule } from 'inversify';
import type { Backends } from './backends.ts';
import type { Profile } from './profiles.ts';
export interface AppOptions {
    readonly profile?: string | Profile | undefined;
    readonly env?: Readonly<Record<string, string | undefined>> | undefined;
    readonly backends?: Backends | undefined;
    readonly modules?: readonly ContainerModule[] | undefined;
    readonly bind?: ((container: Container) => void) | undefined;
    readonly signal?: AbortSignal | undefined;
}

// app/profiles.ts, by tenon, tenon/app

import { ContainerModule } from 'inversify';
import { type Backends } from './backends.ts';
import { type Config } from './config.ts';
export type Profile = (config: Config, env: Readonly<Record<string, string | undefined>>) => ContainerModule | Promise<ContainerModule>;

// app/run.ts, by tenon, tenon/app

import type { Class } from '../decorators/decorators.ts';
import { type AppOptions } from './options.ts';
import { System } from './system.ts';
export interface RunOptions extends AppOptions {
    readonly onStarted?: ((system: System) => void | Promise<void>) | undefined;
    readonly exitOnUncaught?: boolean | undefined;
}
export declare function run(services: Class | readonly Class[], options?: RunOptions): Promise<never>;

// app/system.ts, by tenon, tenon/app

import type { Container, ServiceIdentifier } from 'inversify';
import type { ClientOf, Contract, ProtoContract } from '../client/client-of.ts';
import { type Class } from '../decorators/decorators.ts';
import { ServiceRuntime } from '../service/service.ts';
import type { AppOptions } from './options.ts';
export declare class System {
    #private;
    private constructor();
    static start(services: readonly Class[], options?: AppOptions): Promise<System>;
    get services(): readonly ServiceRuntime[];
    get container(): Container;
    get<T>(identifier: ServiceIdentifier<T>): T;
    getAsync<T>(identifier: ServiceIdentifier<T>): Promise<T>;
    client<T>(source: abstract new (...args: never[]) => T): ClientOf<T>;
    client<T>(source: Contract<T>): ClientOf<T>;
    client<T>(source: ProtoContract): ClientOf<T>;
    settled(): Promise<void>;
    stop(options?: {
        readonly signal?: AbortSignal;
    }): Promise<void>;
}

// app/verify.ts, by tenon, tenon/app

import { type Class } from '../decorators/decorators.ts';
import type { Choice } from './choices.ts';
import { type Composition } from './compose.ts';
import { type Problem } from './describe.ts';
import { type AppOptions } from './options.ts';
export interface Note extends Problem {
    readonly level: 'info' | 'warn';
}
export interface VerifyReport {
    readonly ok: boolean;
    readonly problems: readonly Problem[];
    readonly notes: readonly Note[];
    readonly choices: readonly Choice[];
    readonly bindings: number;
    readonly opaque: readonly string[];
}
export declare function verify(services: readonly Class[], options?: AppOptions): Promise<VerifyReport>;

// app/wrap.ts, by tenon, tenon/app

import type { Container, ResolutionContext, ServiceIdentifier } from 'inversify';
export type ActivationTarget = Pick<Container, 'onActivation'>;
export declare function wrap<T extends object>(container: ActivationTarget, key: ServiceIdentifier<T>, make: (inner: T, context: ResolutionContext) => T): void;
