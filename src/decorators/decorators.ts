export { Handler, type HandlerOptions } from './handler.ts';
export {
  type AnyClass,
  caughtBy,
  type Class,
  handlerOf,
  type HandlerRecord,
  type MessageSchema,
  methodsWithUses,
  type ProtoSource,
  type RpcRecord,
  rpcsOf,
  type ServiceClassRecord,
  serviceOf,
  type StandardServices,
  type SubscribeRecord,
  subscriptionsOf,
  type UseKind,
  type Uses,
  usesOf,
} from './metadata.ts';
export { Rpc, type RpcDecorator, type RpcOptions, type StreamDecorator, type StreamKind } from './rpc.ts';
export { Service, type ServiceDecoratorOptions } from './service.ts';
export { Subscribe, type SubscribeDecorator, type SubscribeOptions } from './subscribe.ts';
export { CatchError, type UseDecorator, UseErrorFilter, UseGuard, UseInterceptor, UsePipe } from './use.ts';
