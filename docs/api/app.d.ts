// Written by `npm run api`; a test says when it is not current.

// tenon/app

export type { Backends } from './backends.ts';
export { type BackendChoice, type Config } from './config.ts';
export { type Problem } from './describe.ts';
export { type AppOptions } from './options.ts';
export { type Profile } from './profiles.ts';
export { run, type RunOptions } from './run.ts';
export { System } from './system.ts';
export { wrap } from './wrap.ts';
export { verify, type VerifyReport } from './verify.ts';

// tenon/app/backends

import type { Newable, ServiceIdentifier } from 'inversify';
import type { Broker } from '../broker/broker.ts';
import type { Marshaler } from '../codec/codec.ts';
import type { Registry } from '../registry/registry.ts';
import type { Selector } from '../selector/selector.ts';
import type { Transport } from '../transport/transport.ts';
import type { Config } from './config.ts';
export type BackendRoom = 'transport' | 'codec' | 'registry' | 'selector' | 'broker';
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
export interface Backend {
    readonly implementation: Newable;
    readonly options?: {
        readonly key: ServiceIdentifier;
        readonly value: object;
    } | undefined;
}
export declare function backendNames(room: BackendRoom, own?: Backends): readonly string[];
export declare function loadBackend(room: BackendRoom, name: string, config: Config, own?: Backends): Promise<Backend>;
export {};

// tenon/app/clients

import type { Client, ClientSource } from '../client/client.ts';
import { type ClientDescription, type ProtoLoader } from './describe.ts';
export declare function typedClient(client: Client, description: ClientDescription): object;
export declare function clientFrom(client: Client, source: ClientSource, loadProto: ProtoLoader, hosts: ReadonlyMap<string, readonly string[]>): object;

// tenon/app/compose

import { Container, type ServiceIdentifier } from 'inversify';
import { type Class } from '../decorators/decorators.ts';
import type { Config } from './config.ts';
import { type ProtoLoader } from './describe.ts';
import { type OptionParts } from './internal/option-parts.ts';
import type { AppOptions } from './options.ts';
export interface Composition {
    readonly services: readonly Class[];
    readonly config: Config;
    readonly container: Container;
    readonly loadProto: ProtoLoader;
    readonly hosts: ReadonlyMap<string, readonly string[]>;
    readonly undecorated: ReadonlyMap<ServiceIdentifier, abstract new (...args: never[]) => unknown>;
    readonly options: OptionParts;
    readonly boundBy: ReadonlyMap<ServiceIdentifier, string>;
    wasResolved(identifier: ServiceIdentifier): boolean;
    dispose(stepMs: number, signal: AbortSignal): Promise<void>;
}
export declare function compose(services: readonly Class[], options?: AppOptions): Promise<Composition>;
export declare function classesOf(services: readonly (Class | undefined)[]): readonly Class[];

// tenon/app/config

import type { ClientOptions } from '../client/client.ts';
import type { MessageLimits } from '../codec/codec.ts';
import { type LogLevel } from '../logger/logger.ts';
import type { ServerOptions } from '../server/server.ts';
import type { ServiceOptions } from '../service/service.ts';
import type { ClientTlsOptions, ServerTlsOptions } from '../transport/tls.ts';
import { type Backends } from './backends.ts';
export declare const profileNames: readonly ['test', 'dev', 'local', 'prod'];
export type ProfileName = (typeof profileNames)[number];
export interface BackendChoice {
    readonly name: string;
    readonly address?: string | undefined;
}
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
    readonly mdns: {
        readonly interface?: string | undefined;
        readonly port?: number | undefined;
    };
    readonly tls: {
        readonly client: ClientTlsOptions;
        readonly server: ServerTlsOptions;
    } | undefined;
    readonly client: ClientOptions;
    readonly server: ServerOptions;
    readonly reflection: boolean;
    readonly service: ServiceOptions;
}
export declare const variables: readonly [{
    readonly kind: 'choice';
    readonly name: 'TENON_PROFILE';
    readonly describes: 'The profile that fills in what is not said below.';
    readonly choices: () => readonly ["test", "dev", "local", "prod"];
    readonly fallback: 'dev';
}, {
    readonly kind: 'choice';
    readonly name: 'TENON_TRANSPORT';
    readonly describes: 'How calls travel. grpc-js is grpc by the library of that name; memory stays in the process and opens no port; tcp and unix are for callers that run tenon too.';
    readonly choices: () => readonly string[];
    readonly fallback: {
        readonly test: 'memory';
        readonly dev: 'grpc';
        readonly local: 'grpc';
        readonly prod: 'grpc';
    };
}, {
    readonly kind: 'choice';
    readonly name: 'TENON_CODEC';
    readonly describes: 'How messages are written when client and method leave it open. proto is for methods with a .proto; others travel as JSON.';
    readonly choices: () => readonly string[];
    readonly fallback: 'proto';
}, {
    readonly name: 'TENON_REGISTRY';
    readonly describes: 'Where services find each other. May carry the address: redis://127.0.0.1:6379';
    readonly kind: 'backend';
    readonly choices: () => readonly string[];
    readonly fallback: {
        readonly test: 'memory';
        readonly dev: 'mdns';
        readonly local: 'memory';
        readonly prod: 'redis';
    };
}, {
    readonly kind: 'text';
    readonly name: 'TENON_REGISTRY_ADDRESS';
    readonly describes: "host:port of the registry. Default: the backend's own.";
    readonly example: '127.0.0.1:6379';
}, {
    readonly kind: 'choice';
    readonly name: 'TENON_SELECTOR';
    readonly describes: 'How a node is chosen among those that serve.';
    readonly choices: () => readonly string[];
    readonly fallback: 'random';
}, {
    readonly name: 'TENON_BROKER';
    readonly describes: 'Who carries events. May carry the address: redis-streams://127.0.0.1:6379';
    readonly kind: 'backend';
    readonly choices: () => readonly string[];
    readonly fallback: {
        readonly test: 'memory';
        readonly dev: 'memory';
        readonly local: 'memory';
        readonly prod: 'redis-streams';
    };
}, {
    readonly kind: 'text';
    readonly name: 'TENON_BROKER_ADDRESS';
    readonly describes: "host:port of the broker. Default: the backend's own.";
    readonly example: '127.0.0.1:6379';
}, {
    readonly kind: 'text';
    readonly name: 'TENON_MDNS_INTERFACE';
    readonly describes: 'Address of the network interface that mDNS speaks on. Default: what the system chooses.';
    readonly example: '127.0.0.1';
}, {
    readonly name: 'TENON_MDNS_PORT';
    readonly describes: 'Port of mDNS. Default: 5353.';
    readonly kind: 'integer';
    readonly unit: '';
    readonly min: 1;
    readonly max: 65535;
    readonly example: '5353';
}, {
    readonly kind: 'text';
    readonly name: 'TENON_SERVER_ADDRESS';
    readonly describes: 'Where to listen, host:port, or over unix the path of a socket file; port 0 for any free one. Stronger than what @Service says.';
    readonly fallback: {
        readonly test: '127.0.0.1:0';
        readonly dev: '127.0.0.1:0';
        readonly local: '127.0.0.1:0';
        readonly prod: '0.0.0.0:0';
    };
}, {
    readonly kind: 'text';
    readonly name: 'TENON_SERVER_ADVERTISE';
    readonly describes: 'Address that others are told to call. Default: where it listens; for a wildcard, the first private address of this machine.';
    readonly example: '10.0.0.7:50051';
}, {
    readonly kind: 'text';
    readonly name: 'TENON_SERVER_NAME';
    readonly describes: 'Name in the registry, instead of the one that @Service says: for one service in a process.';
    readonly example: 'greeter';
}, {
    readonly kind: 'text';
    readonly name: 'TENON_SERVER_ID';
    readonly describes: 'Tail of the node id, <name>-<id>. Default: a UUID.';
    readonly example: 'a1';
}, {
    readonly name: 'TENON_SERVER_METADATA';
    readonly describes: 'Goes with the node in the registry: key=value, several by commas.';
    readonly kind: 'pairs';
    readonly example: 'zone=a,rack=7';
}, {
    readonly kind: 'boolean';
    readonly name: 'TENON_TLS';
    readonly describes: 'Whether calls travel over TLS, of servers and clients. Servers need a certificate and its key then. Default: true if one of those below is set.';
    readonly example: 'true';
}, {
    readonly kind: 'text';
    readonly name: 'TENON_TLS_CERT_FILE';
    readonly describes: 'Certificate of this process in PEM, with those of the authorities in between behind it: servers show it, clients where they are asked. Read again when it changes.';
    readonly example: '/etc/tls/tls.crt';
}, {
    readonly kind: 'text';
    readonly name: 'TENON_TLS_KEY_FILE';
    readonly describes: 'Its private key in PEM.';
    readonly example: '/etc/tls/tls.key';
}, {
    readonly kind: 'text';
    readonly name: 'TENON_TLS_CA_FILE';
    readonly describes: 'Certificates of the authorities that are trusted, in PEM. Default: for clients those that Node trusts.';
    readonly example: '/etc/tls/ca.crt';
}, {
    readonly kind: 'choice';
    readonly name: 'TENON_TLS_CLIENT_AUTH';
    readonly describes: 'Whether servers ask callers for a certificate. request takes callers without one.';
    readonly choices: () => string[];
    readonly fallback: 'none';
}, {
    readonly kind: 'text';
    readonly name: 'TENON_TLS_SERVER_NAME';
    readonly describes: 'Name that certificates of servers must be for. Default: the host that is called.';
    readonly example: 'greeter.internal';
}, {
    readonly name: 'TENON_REGISTER_TTL_MS';
    readonly describes: 'Lease of the registration: a process that dies is forgotten after this time.';
    readonly kind: 'integer';
    readonly unit: 'ms';
    readonly min: 1;
    readonly fallback: '30000';
}, {
    readonly name: 'TENON_REGISTER_INTERVAL_MS';
    readonly describes: 'Time between renewals of the lease. Default: a third of the lease.';
    readonly kind: 'integer';
    readonly unit: 'ms';
    readonly min: 1;
    readonly example: '10000';
}, {
    readonly kind: 'boolean';
    readonly name: 'TENON_DRAIN';
    readonly describes: 'Whether a stop lets what is in flight finish.';
    readonly fallback: 'true';
}, {
    readonly name: 'TENON_LAME_DUCK_MS';
    readonly describes: 'Time to serve on after a stop was announced, so that callers can have seen it.';
    readonly kind: 'integer';
    readonly unit: 'ms';
    readonly min: 0;
    readonly fallback: {
        readonly test: '0';
        readonly dev: '1000';
        readonly local: '0';
        readonly prod: '1000';
    };
}, {
    readonly name: 'TENON_DRAIN_TIMEOUT_MS';
    readonly describes: 'Time for what is in flight to finish; then it is aborted.';
    readonly kind: 'integer';
    readonly unit: 'ms';
    readonly min: 0;
    readonly fallback: '10000';
}, {
    readonly name: 'TENON_STOP_TIMEOUT_MS';
    readonly describes: 'Time for each other step of a stop to end: hooks, @preDestroy, the closing of a backend. Then the stop goes on without it.';
    readonly kind: 'integer';
    readonly unit: 'ms';
    readonly min: 0;
    readonly fallback: '5000';
}, {
    readonly kind: 'choice';
    readonly name: 'TENON_SERVER_DIALECT';
    readonly describes: "Whether servers answer Go Micro's clients as its own servers do, beside plain gRPC.";
    readonly choices: () => readonly ["grpc", "go-micro"];
    readonly fallback: 'grpc';
}, {
    readonly kind: 'choice';
    readonly name: 'TENON_CLIENT_DIALECT';
    readonly describes: "Whether clients call as Go Micro's do. Servers of tenon that they call need the dialect as well.";
    readonly choices: () => readonly ["grpc", "go-micro"];
    readonly fallback: 'grpc';
}, {
    readonly kind: 'boolean';
    readonly name: 'TENON_HEALTH';
    readonly describes: 'Whether grpc.health.v1.Health is served. Stronger than what @Service says.';
    readonly fallback: 'true';
}, {
    readonly kind: 'boolean';
    readonly name: 'TENON_HEALTH_FOLLOWS_REGISTRY';
    readonly describes: 'Whether a node whose lease in the registry has run out, so that callers cannot find it, is NOT_SERVING.';
    readonly fallback: 'true';
}, {
    readonly kind: 'boolean';
    readonly name: 'TENON_REFLECTION';
    readonly describes: 'Whether grpc.reflection is served, v1 and v1alpha: it tells every caller what can be called. Stronger than what @Service says.';
    readonly fallback: {
        readonly test: 'false';
        readonly dev: 'true';
        readonly local: 'true';
        readonly prod: 'false';
    };
}, {
    readonly name: 'TENON_CLIENT_TIMEOUT_MS';
    readonly describes: 'Bound of unary calls that name none; 0 for none.';
    readonly kind: 'integer';
    readonly unit: 'ms';
    readonly min: 0;
    readonly fallback: '30000';
}, {
    readonly kind: 'boolean';
    readonly name: 'TENON_CLIENT_INSECURE_CREDENTIALS';
    readonly describes: 'Whether credentials of calls are sent also to other machines in the clear.';
    readonly fallback: 'false';
}, {
    readonly kind: 'boolean';
    readonly name: 'TENON_CLIENT_COMPRESS';
    readonly describes: 'Compress what calls send with gzip, on transports that can, to servers that understand it.';
    readonly fallback: 'false';
}, {
    readonly kind: 'boolean';
    readonly name: 'TENON_SERVER_COMPRESS';
    readonly describes: 'Compress replies with gzip, on transports that can, to callers that understand it.';
    readonly fallback: 'false';
}, {
    readonly name: 'TENON_CLIENT_SERVICE_CONFIG';
    readonly describes: "Policies per method, in gRPC's own format: time-outs, limits, retries, hedges. JSON, or the path of a file with it. Default: none.";
    readonly kind: 'service-config';
    readonly example: '{"methodConfig":[{"name":[{}],"timeout":"5s"}]}';
}, {
    readonly name: 'TENON_MAX_RECEIVE_BYTES';
    readonly describes: 'Largest message accepted, by servers and clients.';
    readonly kind: 'integer';
    readonly unit: 'bytes';
    readonly min: 1;
    readonly fallback: '4194304';
}, {
    readonly name: 'TENON_MAX_SEND_BYTES';
    readonly describes: 'Largest message sent, by servers and clients. Default: no limit.';
    readonly kind: 'integer';
    readonly unit: 'bytes';
    readonly min: 1;
    readonly example: '4194304';
}, {
    readonly name: 'TENON_MAX_ELEMENTS';
    readonly describes: 'Most elements of a message that is read: messages in it, items of lists, keys and values of maps. See docs/codec.md.';
    readonly kind: 'integer';
    readonly min: 1;
    readonly fallback: '1048576';
}, {
    readonly name: 'TENON_MAX_DEPTH';
    readonly describes: 'How deep a message may be nested. Default: 100 levels, 1000 for JSON without a .proto.';
    readonly kind: 'integer';
    readonly min: 1;
    readonly max: 1000;
    readonly example: '100';
}, {
    readonly kind: 'boolean';
    readonly name: 'TENON_EXPOSE_ERRORS';
    readonly describes: 'Send the text of unexpected exceptions to the caller. It may hold secrets.';
    readonly fallback: 'false';
}, {
    readonly kind: 'boolean';
    readonly name: 'TENON_SUGGEST';
    readonly describes: 'Name methods of similar names in the answer to an unknown one, on transports that can.';
    readonly fallback: 'false';
}, {
    readonly kind: 'choice';
    readonly name: 'TENON_LOG_LEVEL';
    readonly describes: 'Messages below it are not written.';
    readonly choices: () => readonly ["debug", "info", "warn", "error", "silent"];
    readonly fallback: {
        readonly test: 'silent';
        readonly dev: 'info';
        readonly local: 'info';
        readonly prod: 'info';
    };
}, {
    readonly kind: 'choice';
    readonly name: 'TENON_LOG_FORMAT';
    readonly describes: 'text for people, json for machines. Logs go to standard error.';
    readonly choices: () => string[];
    readonly fallback: {
        readonly test: 'text';
        readonly dev: 'text';
        readonly local: 'text';
        readonly prod: 'json';
    };
}];
export declare function readConfig(env: Readonly<Record<string, string | undefined>>, profile?: string, backends?: Backends): Config;
export declare function statedOfServices({ service, stated }: Config): ServiceOptions;
export declare function envExample(): string;

// tenon/app/describe

import type { ProtoFile } from '../codec/proto.ts';
import { clientSourceOf, type ClientSource } from '../client/client.ts';
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

// tenon/app/guard

import type { Container } from 'inversify';
export declare function guardContainer(container: Container): void;

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
import type { AppOptions } from './options.ts';
import { System } from './system.ts';
export interface RunOptions extends AppOptions {
    readonly onStarted?: ((system: System) => void | Promise<void>) | undefined;
    readonly exitOnUncaught?: boolean | undefined;
}
export declare function run(services: Class | readonly Class[], options?: RunOptions): Promise<never>;

// tenon/app/system

import type { Container, ServiceIdentifier } from 'inversify';
import { type ClientOf, type Contract, type ProtoService } from '../client/client.ts';
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
    client<T>(source: ProtoService): ClientOf<T>;
    stop(options?: {
        readonly signal?: AbortSignal;
    }): Promise<void>;
}

// tenon/app/verify

import { type Class } from '../decorators/decorators.ts';
import { type Composition } from './compose.ts';
import { type Problem } from './describe.ts';
import type { AppOptions } from './options.ts';
export interface VerifyReport {
    readonly ok: boolean;
    readonly problems: readonly Problem[];
    readonly notes: readonly Problem[];
    readonly bindings: number;
    readonly opaque: readonly string[];
}
export declare function verify(services: readonly Class[], options?: AppOptions): Promise<VerifyReport>;
export declare function assertVerified(composition: Composition): void;
export declare function formatProblems(problems: readonly Problem[]): string;

// tenon/app/wrap

import type { Container, ResolutionContext, ServiceIdentifier } from 'inversify';
export type Activating = Pick<Container, 'onActivation'>;
export declare function wrap<T extends object>(container: Activating, key: ServiceIdentifier<T>, make: (inner: T, context: ResolutionContext) => T): void;
