import { promising, streaming } from './internal/replies.ts';
import {
  type HandlerFunction,
  type Interceptor,
  type Invoke,
  type MethodDescriptor,
  serverStreams,
} from './pipeline.ts';

/** Wraps `invoke` in the interceptors: the first is the outermost. Composed once, never per call. */
export function compose(
  interceptors: readonly Interceptor[],
  method: MethodDescriptor,
  handler: HandlerFunction,
): Invoke {
  if (serverStreams(method.kind)) {
    return interceptors.reduceRight<Invoke>(
      (next, interceptor) => streaming(interceptor(next, method), method, nameOf(interceptor)),
      streaming(handler, method, 'the handler'),
    );
  }
  // Without interceptors nobody is there to wait for anything but the end of the pipeline itself.
  if (interceptors.length === 0) return handler as Invoke;
  return interceptors.reduceRight<Invoke>((next, interceptor) => interceptor(next, method), promising(handler));
}

function nameOf({ name }: Interceptor): string {
  return name === '' ? 'an interceptor' : `the interceptor "${name}"`;
}
