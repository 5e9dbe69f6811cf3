export { Handler, type HandlerDecoratorOptions } from './handler.ts';
export {
  type AnyClass,
  errorsCaughtBy,
  type Class,
  handlerOf,
  type HandlerRecord,
  type MessageSchema,
  methodsWithEnhancers,
  type ProtoSource,
  type RpcRecord,
  rpcsOf,
  serviceOf,
  type SubscribeRecord,
  subscriptionsOf,
  type EnhancerKind,
  type Enhancers,
  enhancersOf,
} from './metadata.ts';
export { Rpc, type RpcDecorator, type RpcDecoratorOptions, type StreamDecorator, type StreamKind } from './rpc.ts';
export { Service, type ServiceDecoratorOptions } from './service.ts';
export { Subscribe, type SubscribeDecorator, type SubscribeDecoratorOptions } from './subscribe.ts';
export { CatchError, type UseDecorator, UseErrorFilter, UseGuard, UseInterceptor, UsePipe } from './use.ts';
