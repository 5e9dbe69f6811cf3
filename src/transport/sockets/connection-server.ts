import type { ListenOptions as NetListenOptions } from 'node:net';

/** Takes the connections of a listener, as a server of `node:net` does. */
export interface ConnectionServer {
  readonly listening: boolean;
  listen(options: NetListenOptions, onListening: () => void): unknown;
  close(): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  once(event: 'error', listener: (error: Error) => void): unknown;
}
