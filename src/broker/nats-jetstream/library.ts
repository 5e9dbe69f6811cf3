import type { EncodedHeaders, NatsConnection } from '../nats/library.ts';

/*
 * The parts of `@nats-io/jetstream` that are used here, with the names of the server. Times are in nanoseconds.
 */

/** The configuration of a stream, asked for or told. */
export interface StreamConfig {
  readonly name: string;
  readonly subjects?: readonly string[] | undefined;
  readonly storage?: 'file' | 'memory' | undefined;
  readonly num_replicas?: number | undefined;
  readonly max_msgs?: number | undefined;
  readonly max_bytes?: number | undefined;
  readonly max_age?: number | undefined;
  readonly duplicate_window?: number | undefined;
  readonly no_ack?: boolean | undefined;
  readonly discard?: 'old' | 'new' | undefined;
}

/** A stream at the server. */
export interface StreamInfo {
  readonly config: StreamConfig;
  readonly created: string;
  readonly state: { readonly consumer_count: number };
}

/** The configuration of a consumer, asked for or told. */
export interface ConsumerConfig {
  readonly name?: string | undefined;
  readonly durable_name?: string | undefined;
  readonly filter_subject?: string | undefined;
  readonly deliver_subject?: string | undefined;
  readonly deliver_policy?: 'all' | 'new' | 'by_start_sequence' | undefined;
  readonly opt_start_seq?: number | undefined;
  readonly ack_policy?: 'none' | 'explicit' | undefined;
  readonly ack_wait?: number | undefined;
  readonly max_deliver?: number | undefined;
  readonly max_ack_pending?: number | undefined;
  readonly inactive_threshold?: number | undefined;
  readonly mem_storage?: boolean | undefined;
  readonly headers_only?: boolean | undefined;
  readonly backoff?: readonly number[] | undefined;
  readonly max_batch?: number | undefined;
  readonly max_expires?: number | undefined;
  readonly max_bytes?: number | undefined;
  readonly priority_policy?: string | undefined;
}

/** A consumer at the server. */
export interface ConsumerInfo {
  readonly name: string;
  readonly config: ConsumerConfig;
  /** Up to this one all were acknowledged. */
  readonly ack_floor: { readonly stream_seq: number };
  /** Up to this one all were delivered once. */
  readonly delivered: { readonly stream_seq: number };
  readonly num_ack_pending: number;
  readonly num_pending: number;
}

/** Asks the server about streams and consumers, and makes them. */
export interface JetStreamManager {
  getAccountInfo(): Promise<unknown>;
  readonly streams: {
    /** Name of the stream that has the subject. */
    find(subject: string): Promise<string>;
    info(stream: string): Promise<StreamInfo>;
    add(config: StreamConfig): Promise<StreamInfo>;
    delete(stream: string): Promise<boolean>;
  };
  readonly consumers: {
    info(stream: string, name: string): Promise<ConsumerInfo>;
    add(stream: string, config: ConsumerConfig): Promise<ConsumerInfo>;
    delete(stream: string, name: string): Promise<boolean>;
    list(stream: string): AsyncIterable<ConsumerInfo>;
  };
}

/** Publishes to streams. */
export interface JetStreamClient {
  publish(
    subject: string,
    payload: Uint8Array,
    options: { readonly headers?: EncodedHeaders },
  ): Promise<{ readonly seq: number; readonly duplicate: boolean }>;
}

/** The library. */
export interface JetStreamLibrary {
  readonly jetstream: (connection: NatsConnection, options: { timeout: number }) => JetStreamClient;
  readonly jetstreamManager: (
    connection: NatsConnection,
    options?: { checkAPI: boolean; timeout: number },
  ) => Promise<JetStreamManager>;
}
