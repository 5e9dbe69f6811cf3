// Written by `npm run api`; a test says when it is not current.

// tenon

export { type AppOptions, type Backends, type Profile, run, type RunOptions, System, verify, wrap } from './app/app.ts';
export { type ClientOf, clientOf, type ClientSource, type ClientToken, type Contract, contract, type ContractMethod, type ProtoContract, } from './client/client-of.ts';
export { type CallOptions, Client, ClientInterceptors, ClientOptions, type ClientPublishOptions, type PublishedCloudEvent, } from './client/client.ts';
export { type EventContract, type EventsContract, eventsOf, publisherOf, type PublisherOf, type PublisherToken, publisherOver, } from './client/publisher-of.ts';
export { bearerToken, type BearerTokenOptions, type CallCredentials, type CredentialsCall, } from './client/credentials.ts';
export { MessageLimits } from './codec/codec.ts';
export { Context, type ContextKey, contextKey } from './context/context.ts';
export { Metadata, type MetadataInit, type MetadataValue } from './context/metadata.ts';
export type { Attempts, Outgoing, RouteObserver } from './context/outgoing.ts';
export type { PeerCertificate } from './context/peer-certificate.ts';
export { CatchError, Handler, type HandlerDecoratorOptions, Rpc, type RpcDecorator, type RpcDecoratorOptions, Service, type ServiceDecoratorOptions, type StreamDecorator, type StreamKind, Subscribe, type SubscribeDecorator, type SubscribeDecoratorOptions, type UseDecorator, UseErrorFilter, UseGuard, UseInterceptor, UsePipe, } from './decorators/decorators.ts';
export { BadRequest, badRequest, ErrorInfo, errorInfo, findDetail, PreconditionFailure, preconditionFailure, QuotaFailure, quotaFailure, ResourceInfo, resourceInfo, RetryInfo, retryInfo, } from './errors/details.ts';
export { Code, codeName, type ErrorDetail, TenonError } from './errors/errors.ts';
export { Health, type ServingStatus } from './health/health.ts';
export { type LogFields, Logger, type LogLevel } from './logger/logger.ts';
export { type BeforeCall, type CallHooks, type CallOutcome, withHooks } from './pipeline/hooks.ts';
export type { CallHandler, Interceptor, MethodDescriptor, Schema } from './pipeline/pipeline.ts';
export type { CallInterceptor, ErrorFilter, Guard, Pipe, PipeMetadata, ReplyTransforms } from './pipeline/enhancers.ts';
export { Clock, Random, type Timer, Timers } from './runtime/runtime.ts';
export { Store } from './store/store.ts';
export { ServerInterceptors, ServerOptions } from './server/server.ts';
export { ServiceOptions } from './service/service.ts';
export { TransportTlsOptions } from './transport/tls.ts';
export { Broker, type BrokerCapabilities, type BrokerMessage, type Event, type Subscriber } from './broker/broker.ts';
export { Codec, DefaultMarshaler, Marshaler } from './codec/codec.ts';
export { type EndpointRecord, type NodeRecord, Registry, type RegistryCapabilities, type ServiceRecord, type Watcher, } from './registry/registry.ts';
export { type NextNode, Selector, type SelectorCapabilities } from './selector/selector.ts';
export { type EventHandler, Server, type ServerHandler } from './server/server.ts';
export { ServiceRuntime } from './service/service.ts';
export { type Listener, type Socket, Transport, type TransportCapabilities, type TransportClient, } from './transport/transport.ts';
