import type { Metadata } from '../../context/metadata.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Clock } from '../../runtime/runtime.ts';

/** How one method is called as Go Micro's client would. */
export interface MicroCalling {
  /** The path on the wire, where the service has this name in the registry. */
  pathAt(service: string): string;
  /** Says what Go Micro's client says with every call. */
  addHeaders(metadata: Metadata, contentType: string, deadline: number | undefined): void;
}

/** `isAsWritten` for a path that was given whole, which Go Micro's client leaves alone. */
export function microCalling(method: MethodDescriptor, clock: Clock, isAsWritten: boolean): MicroCalling {
  const isUnary = method.kind === 'unary';
  let service: string | undefined;
  let path = method.path;
  return {
    pathAt(given) {
      // A method is nearly always called under one name.
      if (!isAsWritten && given !== service) {
        service = given;
        path = microPath(method, given);
      }
      return path;
    },
    addHeaders(metadata, contentType, deadline) {
      metadata.set('x-content-type', contentType);
      // A stream has no time-out in Go Micro.
      if (isUnary && deadline !== undefined) metadata.set('timeout', nanoseconds(deadline - clock.monotonicMs()));
    },
  };
}

/**
 * `/<registry name>.<Type>/<Method>`: the package of the `.proto` plays no part. Without a name, `/<Type>/<Method>`.
 */
function microPath(method: MethodDescriptor, service: string): string {
  const type = method.service.slice(method.service.lastIndexOf('.') + 1);
  return `/${service === '' ? '' : `${service}.`}${type}/${method.method}`;
}

function nanoseconds(ms: number): string {
  // As text: most are beyond what a number holds exactly. Whole milliseconds are fine enough.
  return `${Math.max(0, Math.round(ms))}000000`;
}

// Said of one call by who sends it; a second hop has its own.
const ownKeys: ReadonlySet<string> = new Set([
  'accept-encoding',
  'connection',
  'content-type',
  'host',
  'te',
  'tenon-reason',
  'timeout',
  'user-agent',
  'x-content-type',
]);

/** Whether a key goes on with a call that is made while another is handled: in Go Micro all do. */
export function isForwarded(key: string): boolean {
  return !ownKeys.has(key) && !key.startsWith(':') && !key.startsWith('grpc-');
}
