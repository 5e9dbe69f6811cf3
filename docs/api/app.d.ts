// Written by `npm run api`; a test says when it is not current.

// tenon/app

export type { Backends } from './backends.ts';
export { type Choice } from './choices.ts';
export { type BackendChoice, type Config } from './config.ts';
export { type Problem } from './describe.ts';
export { type AppOptions } from './options.ts';
export { type Profile } from './profiles.ts';
export { run, type RunOptions } from './run.ts';
export { System } from './system.ts';
export { wrap } from './wrap.ts';
export { type Note, verify, type VerifyReport } from './verify.ts';

// tenon/app/backends

import type { Newable } from 'inversify';
import type { Broker } from '../broker/broker.ts';
import type { Marshaler } from '../codec/codec.ts';
import type { Registry } from '../registry/registry.ts';
import type { Selector } from '../selector/selector.ts';
import type { Transport } from '../transport/transport.ts';
import { type Backend, type BackendRoom, type BackendSettings } from './internal/backend-table.ts';
export type { Backend, BackendRoom, BackendSettings } from './internal/backend-table.ts';
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
export declare function loadBackend(room: BackendRoom, name: string, settings: BackendSettings, own?: Backends): Promise<Backend>;

// tenon/app/choices

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
export interface ChoiceSources {
    readonly services: readonly Class[];
    readonly config: Config;
    readonly options: OptionParts;
    readonly boundBy: ReadonlyMap<ServiceIdentifier, readonly string[]>;
    readonly profileOrigin: string;
    readonly undecorated: ReadonlyMap<ServiceIdentifier, abstract new (...args: never[]) => unknown>;
}

// tenon/app/clients

import type { ClientSource } from '../client/client-of.ts';
import type { Client } from '../client/client.ts';
import { type ClientDescription, type ProtoLoader } from './describe.ts';
export declare function typedClient(client: Client, description: ClientDescription): object;
export declare function clientFrom(client: Client, source: ClientSource, loadProto: ProtoLoader, servicesByHandler: ReadonlyMap<string, readonly string[]>): object;

// tenon/app/compose

import { Container, type ServiceIdentifier } from 'inversify';
import { type Class } from '../decorators/decorators.ts';
import { type ProcessIdentity } from '../logger/internal/process-logger.ts';
import type { Config } from './config.ts';
import { type Problem, type ProtoLoader } from './describe.ts';
import { type OptionParts } from './internal/option-parts.ts';
import { type AppOptions } from './options.ts';
export interface Composition {
    readonly services: readonly Class[];
    readonly config: Config;
    readonly container: Container;
    readonly loadProto: ProtoLoader;
    readonly identity: ProcessIdentity;
    readonly servicesByHandler: ReadonlyMap<string, readonly string[]>;
    readonly undecorated: ReadonlyMap<ServiceIdentifier, abstract new (...args: never[]) => unknown>;
    readonly options: OptionParts;
    readonly boundBy: ReadonlyMap<ServiceIdentifier, readonly string[]>;
    readonly profileOrigin: string;
    readonly misspelt: readonly Problem[];
    wasResolved(identifier: ServiceIdentifier): boolean;
    dispose(stepMs: number, signal: AbortSignal): Promise<void>;
}
export declare function compose(services: readonly Class[], options?: AppOptions): Promise<Composition>;
export declare function classesOf(services: readonly (Class | undefined)[]): readonly Class[];

// tenon/app/config

import type { ClientOptions } from '../client/client.ts';
import type { MessageLimits } from '../codec/codec.ts';
import type { LogLevel } from '../logger/logger.ts';
import type { ServerOptions } from '../server/server.ts';
import type { ServiceOptions } from '../service/service.ts';
import type { ClientTlsOptions, ServerTlsOptions } from '../tls/tls.ts';
import { type Backends } from './backends.ts';
import { type BackendSettings } from './internal/backend-table.ts';
import { type ProfileName } from './internal/variable-list.ts';
export interface BackendChoice {
    readonly name: string;
    readonly address?: string | undefined;
    readonly settings?: BackendSettings | undefined;
}
export declare function settingsOf({ address, settings }: BackendChoice): BackendSettings;
export interface Config {
    readonly profile: ProfileName;
    readonly stated: readonly string[];
    readonly transport: string;
    readonly codec: string;
    readonly messages: MessageLimits;
    readonly registry: BackendChoice;
    readonly selector: string;
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
export declare function readConfig(env: Readonly<Record<string, string | undefined>>, profile?: string, backends?: Backends): Config;
export declare const clientFields: {
    readonly dialect: 'TENON_CLIENT_DIALECT';
    readonly timeoutMs: 'TENON_CLIENT_TIMEOUT_MS';
    readonly serviceConfig: 'TENON_CLIENT_SERVICE_CONFIG';
    readonly maxReceiveBytes: 'TENON_MAX_RECEIVE_BYTES';
    readonly maxSendBytes: 'TENON_MAX_SEND_BYTES';
    readonly compress: 'TENON_CLIENT_COMPRESS';
    readonly insecureCredentials: 'TENON_CLIENT_INSECURE_CREDENTIALS';
};
export declare const messageFields: {
    readonly maxElements: 'TENON_MAX_ELEMENTS';
    readonly maxDepth: 'TENON_MAX_DEPTH';
};
export declare const serviceFields: {
    readonly address: 'TENON_SERVER_ADDRESS';
    readonly dialect: 'TENON_SERVER_DIALECT';
    readonly maxReceiveBytes: 'TENON_MAX_RECEIVE_BYTES';
    readonly maxSendBytes: 'TENON_MAX_SEND_BYTES';
    readonly compress: 'TENON_SERVER_COMPRESS';
    readonly name: 'TENON_SERVER_NAME';
    readonly id: 'TENON_SERVER_ID';
    readonly advertise: 'TENON_SERVER_ADVERTISE';
    readonly metadata: 'TENON_SERVER_METADATA';
    readonly register: 'TENON_REGISTER';
    readonly registerTtlMs: 'TENON_REGISTER_TTL_MS';
    readonly registerIntervalMs: 'TENON_REGISTER_INTERVAL_MS';
    readonly exposeErrors: 'TENON_EXPOSE_ERRORS';
    readonly suggest: 'TENON_SUGGEST';
    readonly drain: 'TENON_DRAIN';
    readonly lameDuckMs: 'TENON_LAME_DUCK_MS';
    readonly drainTimeoutMs: 'TENON_DRAIN_TIMEOUT_MS';
    readonly stopTimeoutMs: 'TENON_STOP_TIMEOUT_MS';
    readonly health: 'TENON_HEALTH';
    readonly healthFollowsRegistry: 'TENON_HEALTH_FOLLOWS_REGISTRY';
    readonly healthFollowsBroker: 'TENON_HEALTH_FOLLOWS_BROKER';
    readonly requireBackends: 'TENON_REQUIRE_BACKENDS';
    readonly reflection: 'TENON_REFLECTION';
};
export declare function statedServiceOptions({ service, stated }: Config): ServiceOptions;
export declare function envExample(): string;

// tenon/app/container-lock

import type { Container } from 'inversify';
export declare function lockContainer(container: Container): void;

// tenon/app/describe

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
export type ProtoLoader = (source: ProtoSource) => ProtoFile;
export interface MethodDescription {
    readonly descriptor: MethodDescriptor;
    readonly property: string;
    readonly interceptors: readonly Interceptor[];
}
export interface SubscriptionDescription {
    readonly descriptor: MethodDescriptor;
    readonly property: string;
    readonly topic: string;
    readonly options: EventHandlerOptions;
    readonly interceptors: readonly Interceptor[];
}
export interface HandlerDescription {
    readonly target: Class;
    readonly name: string;
    readonly service: string;
    readonly internal: boolean;
    readonly proto: ProtoFile | undefined;
    readonly methods: readonly MethodDescription[];
    readonly subscriptions: readonly SubscriptionDescription[];
    readonly problems: readonly Problem[];
}
export declare function describeHandler(target: Class, loadProto: ProtoLoader): HandlerDescription;
export interface ClientDescription {
    readonly name: string;
    readonly service: string;
    readonly methods: ReadonlyMap<string, MethodDescriptor>;
    readonly problems: readonly Problem[];
}
export declare function describeClient(source: ClientSource, loadProto: ProtoLoader): ClientDescription;
export { clientSourceOf };
export declare function packageOf(name: string): string;
export declare function schemaOf(source: MessageSchema | undefined): Schema | undefined;

// tenon/app/options

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
export declare function environmentOf({ env, profile }: AppOptions): Readonly<Record<string, string | undefined>>;

// tenon/app/profiles

import { ContainerModule } from 'inversify';
import { type Backends } from './backends.ts';
import { type Config } from './config.ts';
export type Profile = (config: Config, env: Readonly<Record<string, string | undefined>>) => ContainerModule | Promise<ContainerModule>;
export interface ResolvedProfile {
    readonly config: Config;
    readonly layers: readonly Profile[];
}
export declare function resolveProfile(profile: string | Profile | undefined, env: Readonly<Record<string, string | undefined>>, backends?: Backends): ResolvedProfile;

// tenon/app/run

import type { Class } from '../decorators/decorators.ts';
import { type AppOptions } from './options.ts';
import { System } from './system.ts';
export interface RunOptions extends AppOptions {
    readonly onStarted?: ((system: System) => void | Promise<void>) | undefined;
    readonly exitOnUncaught?: boolean | undefined;
}
export declare function run(services: Class | readonly Class[], options?: RunOptions): Promise<never>;

// tenon/app/system

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
    stop(options?: {
        readonly signal?: AbortSignal;
    }): Promise<void>;
}

// tenon/app/verify

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
export declare function assertVerified(composition: Composition): readonly Note[];
export declare function formatProblems(problems: readonly Problem[]): string;

// tenon/app/wrap

import type { Container, ResolutionContext, ServiceIdentifier } from 'inversify';
export type ActivationTarget = Pick<Container, 'onActivation'>;
export declare function wrap<T extends object>(container: ActivationTarget, key: ServiceIdentifier<T>, make: (inner: T, context: ResolutionContext) => T): void;
