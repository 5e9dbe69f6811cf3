import type { Metadata } from '../../context/metadata.ts';
import type { Status } from '../../context/status.ts';
import type { Code, TenonError } from '../../errors/errors.ts';
import type { Message } from '../transport.ts';

/** One step of a call that is to be sent. */
export interface OutgoingMessage {
  readonly headers?: Metadata | undefined;
  readonly body?: Uint8Array | undefined;
  /** True if the body is to be compressed, as in {@link Message.compressed}. */
  readonly compressed?: boolean | undefined;
  readonly status?: Status | undefined;
  /** True if the client sends no more. */
  readonly isEnd?: boolean | undefined;
}

/** Carries one call on a connection, below the rules of calls. */
export interface CallStream {
  /** Sends a step now, or as soon as there is room. Throws for metadata that cannot be sent. */
  send(outgoing: OutgoingMessage): void;
  /** Returns a promise while something waits to be sent. */
  room(): Promise<void> | undefined;
  /** Asks for the next message: the reader has room. */
  resume(): void;
  /** Ends the stream without telling the peer, and drops what waits to be sent. */
  close(): void;
  /** Ends the stream, and tells the peer. */
  reset(code: Code): void;
}

/** The call that a {@link CallStream} carries. */
export interface StreamOwner {
  /** The largest message that is accepted, in bytes. */
  readonly maxReceiveBytes: number;
  /** Called for each message; `isEnd` if the peer sends no more. */
  onMessage(message: Message, isEnd: boolean): void;
  /** Called when a message is larger than the limit: the call must end. */
  onTooLarge(bytes: number | undefined): void;
  /** Called when the peer has reset the call; `isRefused` if the peer has not processed it. */
  onReset(isRefused: boolean, code: Code): void;
  /** Called when the connection is lost; `wasSent` if the peer may have seen the call. */
  onLost(why: string, wasSent: boolean): void;
  /** Called when a waiting message cannot be sent, or a message that came is invalid. */
  onError(error: TenonError): void;
  /** Called when the call is over and its last byte is handed to the connection. */
  onClosed(): void;
}
