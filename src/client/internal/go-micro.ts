import type { Metadata } from '../../context/metadata.ts';
import { contentTypeKey, timeoutKey, writeTimeout } from '../../go-micro/call-headers.ts';
import { callPath } from '../../go-micro/paths.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Clock } from '../../runtime/runtime.ts';

/** Calls one method the way Go Micro's client does. */
export interface MicroCalling {
  /** The path on the wire, where the service has this name in the registry. */
  pathAt(service: string): string;
  /** Adds the headers that Go Micro's client sends with every call. */
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
        path = callPath(given, `/${method.service}/${method.method}`);
      }
      return path;
    },
    addHeaders(metadata, contentType, deadline) {
      metadata.set(contentTypeKey, contentType);
      // A stream has no time-out in Go Micro.
      if (isUnary && deadline !== undefined) metadata.set(timeoutKey, writeTimeout(deadline - clock.monotonicMs()));
    },
  };
}
