import type { Code } from '../../errors/errors.ts';
import type { LogFields } from '../../logger/logger.ts';
import type { RestoredNode, ServiceRecord } from '../../registry/registry.ts';
import type { LeaseTerms } from '../lease-keeper.ts';

/** A message to the thread that renews leases. `key` identifies the lease, `call` a request that is answered. */
export type LeaseRequest =
  | {
      readonly kind: 'begin';
      readonly key: string;
      readonly terms: LeaseTerms;
      /** Counts renewals in shared memory, and behind them those after a loss. */
      readonly renewals: Int32Array;
      /** The heartbeat of the main thread, and its period in milliseconds. */
      readonly beats: Int32Array;
      readonly periodMs: number;
    }
  | { readonly kind: 'update'; readonly key: string; readonly record: ServiceRecord }
  | { readonly kind: 'announce'; readonly key: string; readonly call: number; readonly record: ServiceRecord }
  | { readonly kind: 'withdraw'; readonly key: string; readonly call: number }
  /** Ends everything that is done for a lease, without asking the registry. */
  | { readonly kind: 'abandon'; readonly key: string; readonly call: number };

/** An error, as it crosses between threads. */
export interface SentError {
  readonly code: Code;
  readonly reason: string | undefined;
  readonly message: string;
}

/** A message from the thread that renews leases. */
export type LeaseReport =
  | { readonly kind: 'ready' }
  /** The thread cannot construct its registry, and another one could not either. */
  | { readonly kind: 'unfit'; readonly why: string }
  | { readonly kind: 'registered'; readonly key: string }
  | { readonly kind: 'restored'; readonly node: RestoredNode }
  | { readonly kind: 'done'; readonly call: number; readonly error?: SentError | undefined }
  | {
      readonly kind: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly message: string;
      readonly fields: LogFields;
    };
