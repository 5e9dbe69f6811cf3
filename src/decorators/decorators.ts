export { Handler, type HandlerOptions } from './handler.ts';
export {
  type AnyClass,
  type Class,
  handlerOf,
  type HandlerRecord,
  type MessageSchema,
  type ProtoSource,
  type RpcRecord,
  rpcsOf,
  type ServiceClassRecord,
  serviceOf,
  type SubscribeRecord,
  subscriptionsOf,
} from './metadata.ts';
export { Rpc, type RpcDecorator, type RpcOptions, type StreamDecorator, type StreamKind } from './rpc.ts';
export { Service, type ServiceDecoratorOptions } from './service.ts';
export { Subscribe, type SubscribeDecorator, type SubscribeOptions } from './subscribe.ts';
