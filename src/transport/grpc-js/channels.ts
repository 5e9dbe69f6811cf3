import { Channel, type ChannelCredentials, type ChannelOptions, compressionAlgorithms } from '@grpc/grpc-js';

import type { TenonError } from '../../errors/errors.ts';
import type { Clock } from '../../runtime/runtime.ts';
import { defaultMaxMessageBytes } from '../transport.ts';
import { assertCallable } from '../sockets/address.ts';
import { transportClosed, usedAfterClose } from '../call/failures.ts';
import { maxUnansweredCalls } from '../call/unanswered-calls.ts';

/** A call that can be ended from outside. */
export interface OpenCall {
  fail(error: TenonError): void;
}

/** The connection to one address, shared by its calls. */
export class GrpcJsChannel {
  readonly address: string;
  readonly raw: Channel;
  readonly maxReceiveBytes: number;
  /** Its calls may send compressed messages. */
  readonly compresses: boolean;
  readonly maxMetadataBytes: number;
  readonly calls = new Set<OpenCall>();
  usedMs: number;

  /** Counts what came from the server: a call compares it with the count at its beginning. */
  activity = 0;
  #unanswered = 0;
  #isGivenUp = false;
  readonly #giveUp: (channel: GrpcJsChannel) => void;

  /** Turns compression off for a server that does not understand it. */
  readonly notUnderstood: () => void;

  constructor(
    address: string,
    raw: Channel,
    kind: ChannelKind & Pick<GrpcJsChannel, 'maxMetadataBytes' | 'notUnderstood' | 'usedMs'>,
    giveUp: (channel: GrpcJsChannel) => void,
  ) {
    this.address = address;
    this.raw = raw;
    this.maxReceiveBytes = kind.maxReceiveBytes;
    this.compresses = kind.compresses;
    this.notUnderstood = kind.notUnderstood;
    this.maxMetadataBytes = kind.maxMetadataBytes;
    this.usedMs = kind.usedMs;
    this.#giveUp = giveUp;
  }

  /** Removes a call that is over. */
  release(call: OpenCall): void {
    this.calls.delete(call);
    if (this.#isGivenUp && this.calls.size === 0) this.raw.close();
  }

  /** Notes that something has come from the server. */
  noteActivity(): void {
    this.activity += 1;
  }

  /** Notes that a call that began at that count of `activity` had no answer. */
  noteUnanswered(activity: number): void {
    this.#unanswered = activity === this.activity ? this.#unanswered + 1 : 0;
    if (this.#unanswered < maxUnansweredCalls || this.#isGivenUp) return;
    this.#isGivenUp = true;
    this.#giveUp(this);
    if (this.calls.size === 0) this.raw.close();
  }
}

/** Properties of a channel in grpc-js: calls that differ in them share none. */
interface ChannelKind {
  readonly maxReceiveBytes: number;
  readonly compresses: boolean;
}

/** Options of the channels. */
export interface GrpcJsChannelOptions {
  /** Returns the credentials of a channel; called once for each. Throws if there can be none. */
  readonly credentials: () => ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  readonly maxMetadataBytes: number;
  /** Time without calls after which a connection is closed, in milliseconds. */
  readonly idleMs: number;
  readonly clock: Clock;
}

/** Keeps the channels of a transport. */
export class GrpcJsChannelPool {
  readonly #options: GrpcJsChannelOptions;
  readonly #plain = new Map<number, Map<string, GrpcJsChannel>>();
  readonly #compressing = new Map<number, Map<string, GrpcJsChannel>>();

  /** Addresses of servers that do not understand what is compressed. */
  readonly #unable = new Set<string>();

  /** Connections that count as dead, with calls that have not ended yet. */
  readonly #givenUp = new Set<GrpcJsChannel>();
  #isClosed = false;

  constructor(options: GrpcJsChannelOptions) {
    this.#options = options;
  }

  /**
   * Returns the channel of an address. Throws INVALID_ARGUMENT (`transport.invalid_address`), and FAILED_PRECONDITION
   * for TLS that cannot work (`tls.invalid`) and after `close` (`transport.closed`).
   */
  get(address: string, maxReceiveBytes: number = defaultMaxMessageBytes, compress = false): GrpcJsChannel {
    const compresses = compress && !this.#unable.has(address);
    const channel = this.#byLimit(compresses).get(maxReceiveBytes)?.get(address);
    return channel ?? this.#open(address, { maxReceiveBytes, compresses });
  }

  close(): void {
    this.#isClosed = true;
    for (const channel of this.#all()) {
      for (const call of channel.calls) call.fail(transportClosed());
      channel.raw.close();
    }
    this.#plain.clear();
    this.#compressing.clear();
    this.#unable.clear();
    this.#givenUp.clear();
  }

  #byLimit(compresses: boolean): Map<number, Map<string, GrpcJsChannel>> {
    return compresses ? this.#compressing : this.#plain;
  }

  #open(address: string, kind: ChannelKind): GrpcJsChannel {
    const { maxReceiveBytes, compresses } = kind;
    if (this.#isClosed) throw usedAfterClose();
    assertCallable(address);
    this.#closeIdle();
    const { credentials, channelOptions, maxMetadataBytes, clock } = this.#options;
    const raw = new Channel(`dns:${address}`, credentials(), {
      ...channelOptions,
      'grpc.default_authority': address,
      'grpc.max_receive_message_length': maxReceiveBytes,
      ...(compresses ? { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip } : {}),
    });
    const channel = new GrpcJsChannel(
      address,
      raw,
      { ...kind, maxMetadataBytes, usedMs: clock.monotonicMs(), notUnderstood: () => this.#unable.add(address) },
      (unanswered) => this.#giveUp(unanswered),
    );
    const byLimit = this.#byLimit(compresses);
    let channels = byLimit.get(maxReceiveBytes);
    if (!channels) byLimit.set(maxReceiveBytes, (channels = new Map()));
    channels.set(address, channel);
    return channel;
  }

  /**
   * Closes idle channels. Nodes come and go, each with an address of its own, and a client would keep trying those that
   * are gone.
   */
  #closeIdle(): void {
    const oldest = this.#options.clock.monotonicMs() - this.#options.idleMs;
    for (const channel of this.#all()) {
      if (channel.calls.size > 0 || channel.usedMs > oldest || this.#givenUp.has(channel)) continue;
      channel.raw.close();
      this.#byLimit(channel.compresses).get(channel.maxReceiveBytes)?.delete(channel.address);
      // Another server may come to be there.
      this.#unable.delete(channel.address);
    }
  }

  /** Stops using a channel. Its calls go on, and the next call is made on a new connection. */
  #giveUp(channel: GrpcJsChannel): void {
    const channels = this.#byLimit(channel.compresses).get(channel.maxReceiveBytes);
    if (channels?.get(channel.address) !== channel) return;
    channels.delete(channel.address);
    if (channel.calls.size > 0) this.#givenUp.add(channel);
    for (const other of this.#givenUp) if (other.calls.size === 0) this.#givenUp.delete(other);
  }

  #all(): GrpcJsChannel[] {
    const maps = [...this.#plain.values(), ...this.#compressing.values()];
    return [...maps.flatMap((channels) => [...channels.values()]), ...this.#givenUp];
  }
}
