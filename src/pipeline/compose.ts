import { promising, streaming } from './internal/replies.ts';
import {
  type HandlerFunction,
  type Interceptor,
  type CallHandler,
  type MethodDescriptor,
  serverStreams,
} from './pipeline.ts';

/** Wraps a handler in interceptors, of which the first is the outermost. Called once per method, never per call. */
export function compose(
  interceptors: readonly Interceptor[],
  method: MethodDescriptor,
  handler: HandlerFunction,
): CallHandler {
  if (serverStreams(method.kind)) {
    return interceptors.reduceRight<CallHandler>(
      (next, interceptor) => streaming(interceptor(next, method), method, nameOf(interceptor)),
      streaming(handler, method, 'the handler'),
    );
  }
  // Only an interceptor relies on a promise: without one the handler's own result will do.
  if (interceptors.length === 0) return handler as CallHandler;
  return interceptors.reduceRight<CallHandler>((next, interceptor) => interceptor(next, method), promising(handler));
}

function nameOf({ name }: Interceptor): string {
  return name === '' ? 'an interceptor' : `the interceptor "${name}"`;
}
