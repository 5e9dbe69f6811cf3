import type { MethodKind } from '../pipeline.ts';

/** Whether the client sends a stream. */
export function clientStreams(kind: MethodKind): boolean {
  return kind === 'client' || kind === 'bidi';
}

/** Whether the server sends a stream. */
export function serverStreams(kind: MethodKind): boolean {
  return kind === 'server' || kind === 'bidi';
}
