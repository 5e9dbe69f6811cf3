import type { Duplex } from 'node:stream';

import type { ListenOptions } from '../transport.ts';
import type { ServerSide } from '../call/server-call.ts';

/** Speaks a protocol on the connections of a listener. */
export interface ServerEngine {
  /** Takes a connection, in the clear or decrypted. Is not called after `goAway`. */
  inject(connection: Duplex): void;
  /** Tells the peers to send no more calls (GOAWAY). Resolves when the calls are over and their connections closed. */
  goAway(): Promise<void>;
  /** Ends the calls and connections that are left, at once. */
  shutDown(): void;
}

/** Makes the engine of one listener. */
export type MakeServerEngine = (options: ListenOptions, side: ServerSide) => ServerEngine;
