// Written by `npm run api`; a test says when it is not current.

// tenon

export { type AppOptions, type Backends, type Profile, run, type RunOptions, System, verify, wrap } from './app/app.ts';
export { type ClientOf, clientOf, contract } from './client/client-of.ts';
export { Client, type CallOptions } from './client/client.ts';
export { Context, type ContextKey, contextKey } from './context/context.ts';
export { Metadata } from './context/metadata.ts';
export { CatchError, Handler, Rpc, Service, Subscribe, UseErrorFilter, UseGuard, UseInterceptor, UsePipe, } from './decorators/decorators.ts';
export { BadRequest, badRequest, ErrorInfo, errorInfo, findDetail, PreconditionFailure, preconditionFailure, QuotaFailure, quotaFailure, ResourceInfo, resourceInfo, RetryInfo, retryInfo, } from './errors/details.ts';
export { Code, codeName, type ErrorDetail, TenonError } from './errors/errors.ts';
export { Health, type ServingStatus } from './health/health.ts';
export { Logger } from './logger/logger.ts';
export { withHooks } from './pipeline/hooks.ts';
export type { Interceptor, CallHandler, MethodDescriptor, Schema } from './pipeline/pipeline.ts';
export type { CallInterceptor, ErrorFilter, Guard, Pipe } from './pipeline/enhancers.ts';
export { Clock, Random, type Timer, Timers } from './runtime/runtime.ts';
export { Broker, type BrokerCapabilities, type BrokerMessage, type Event, type Subscriber } from './broker/broker.ts';
export { Codec, DefaultMarshaler, Marshaler } from './codec/codec.ts';
export { type EndpointRecord, type NodeRecord, Registry, type RegistryCapabilities, type ServiceRecord, type Watcher, } from './registry/registry.ts';
export { type NextNode, Selector, type SelectorCapabilities } from './selector/selector.ts';
export { type EventHandler, Server, type ServerHandler } from './server/server.ts';
export { ServiceRuntime } from './service/service.ts';
export { type Listener, type Socket, Transport, type TransportCapabilities, type TransportClient, } from './transport/transport.ts';
