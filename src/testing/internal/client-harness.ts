import type { Client, ClientOptions } from '../../client/client.ts';
import type { Parts } from './parts.ts';

/** Makes the client that is tested, of the parts that a case gives it. */
export interface ClientHarness {
  make(parts: Parts, options?: ClientOptions): Client;
}
