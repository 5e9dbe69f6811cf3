import type { Metadata } from '../../context/metadata.ts';
import type { Status } from '../../context/status.ts';
import type { Code, TenonError } from '../../errors/errors.ts';
import type { Message } from '../transport.ts';

/** One step of a call that is to be sent. */
export interface OutgoingMessage {
  readonly headers?: Metadata | undefined;
  readonly body?: Uint8Array | undefined;
  /** As a {@link Message} says it. */
  readonly compressed?: boolean | undefined;
  readonly status?: Status | undefined;
  /** The client sends no more. */
  readonly isEnd?: boolean | undefined;
}

/** Carries one call on a connection, below the rules of calls. */
export interface CallStream {
  /** Sends it now, or as soon as there is room. Throws for metadata that cannot be sent. */
  send(outgoing: OutgoingMessage): void;
  /** A promise while something waits to be sent. */
  room(): Promise<void> | undefined;
  /** The reader has taken what came, or has room for more. */
  resume(): void;
  /** Lets go of the call without a word: what waits is dropped. */
  close(): void;
  /** Lets go of the call, and tells the peer. */
  reset(code: Code): void;
}

/** The call that a {@link CallStream} carries. */
export interface StreamOwner {
  /** More than this is not taken in. */
  readonly maxReceiveBytes: number;
  /** `isEnd`: the peer sends no more. */
  onMessage(message: Message, isEnd: boolean): void;
  /** A body of that size is on its way: it is over the limit, and the call is to be ended. */
  onTooLarge(bytes: number | undefined): void;
  /** The peer let go of the call. `isRefused`: without having looked at it. */
  onReset(isRefused: boolean, code: Code): void;
  /** The connection is gone. `wasSent`: the peer may have seen the call. */
  onLost(why: string, wasSent: boolean): void;
  /** What waited cannot be sent, or what came makes no sense. */
  onError(error: TenonError): void;
  /** The call is over, and its last byte handed to the connection. */
  onClosed(): void;
}
