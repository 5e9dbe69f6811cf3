import { Channel, type ChannelCredentials, type ChannelOptions, compressionAlgorithms } from '@grpc/grpc-js';

import type { TenonError } from '../../errors/errors.ts';
import type { Clock } from '../../runtime/runtime.ts';
import { defaultMaxMessageBytes } from '../transport.ts';
import { assertCallable } from '../sockets/address.ts';
import { transportClosed, usedAfterClose } from '../call/failures.ts';

/** A call that can be ended from outside. */
export interface OpenCall {
  fail(error: TenonError): void;
}

/**
 * So many calls in a row that ran out of time or were refused, with not a word from the server in between, and the connection is taken for dead. Some are
 * and do not know: Node 20 neither reads on nor closes a connection on which the server broke the rules of HTTP/2, and no later call would be answered on it.
 */
const silentCalls = 3;

/** The connection to one address, shared by its calls. */
export class GrpcChannel {
  readonly address: string;
  readonly channel: Channel;
  readonly maxReceiveBytes: number;
  /** Its calls may send compressed messages. */
  readonly compresses: boolean;
  readonly maxMetadataBytes: number;
  readonly calls = new Set<OpenCall>();
  usedMs: number;

  /** How often something has come from the server: calls compare. */
  heard = 0;
  #silent = 0;
  #isGivenUp = false;
  readonly #giveUp: (line: GrpcChannel) => void;

  /** To be called when the server does not understand what is compressed: it is sent no more of it. */
  readonly notUnderstood: () => void;

  constructor(
    address: string,
    channel: Channel,
    kind: ChannelKind & Pick<GrpcChannel, 'maxMetadataBytes' | 'notUnderstood' | 'usedMs'>,
    giveUp: (line: GrpcChannel) => void,
  ) {
    this.address = address;
    this.channel = channel;
    this.maxReceiveBytes = kind.maxReceiveBytes;
    this.compresses = kind.compresses;
    this.notUnderstood = kind.notUnderstood;
    this.maxMetadataBytes = kind.maxMetadataBytes;
    this.usedMs = kind.usedMs;
    this.#giveUp = giveUp;
  }

  /** A call is over. */
  release(call: OpenCall): void {
    this.calls.delete(call);
    if (this.#isGivenUp && this.calls.size === 0) this.channel.close();
  }

  /** A call had its connection, and no answer; when it began, so often something had come. */
  leftAlone(heard: number): void {
    this.#silent = heard === this.heard ? this.#silent + 1 : 0;
    if (this.#silent < silentCalls || this.#isGivenUp) return;
    this.#isGivenUp = true;
    this.#giveUp(this);
    if (this.calls.size === 0) this.channel.close();
  }
}

/** What is a property of the connection in grpc-js, so that calls which differ in it share none. */
interface ChannelKind {
  readonly maxReceiveBytes: number;
  readonly compresses: boolean;
}

/** How connections are made. */
export interface GrpcChannelOptions {
  /** Asked once per line. Throws where there can be none. */
  readonly credentials: () => ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  readonly maxMetadataBytes: number;
  /** Unused for so long, a connection is let go of. */
  readonly idleMs: number;
  readonly clock: Clock;
}

/** The connections of a transport. */
export class GrpcChannels {
  readonly #options: GrpcChannelOptions;
  readonly #plain = new Map<number, Map<string, GrpcChannel>>();
  readonly #compressing = new Map<number, Map<string, GrpcChannel>>();

  /** Addresses of servers that do not understand what is compressed. */
  readonly #unable = new Set<string>();

  /** Connections that are taken for dead, with calls that have not ended yet. */
  readonly #givenUp = new Set<GrpcChannel>();
  #isClosed = false;

  constructor(options: GrpcChannelOptions) {
    this.#options = options;
  }

  /** Throws INVALID_ARGUMENT (`transport.invalid_address`), and FAILED_PRECONDITION for TLS that cannot work (`tls.invalid`) and after `close` (`transport.closed`). */
  to(address: string, maxReceiveBytes: number = defaultMaxMessageBytes, compress = false): GrpcChannel {
    const compresses = compress && !this.#unable.has(address);
    const line = this.#byLimit(compresses).get(maxReceiveBytes)?.get(address);
    return line ?? this.#open(address, { maxReceiveBytes, compresses });
  }

  close(): void {
    this.#isClosed = true;
    for (const line of this.#all()) {
      for (const call of line.calls) call.fail(transportClosed());
      line.channel.close();
    }
    this.#plain.clear();
    this.#compressing.clear();
    this.#unable.clear();
    this.#givenUp.clear();
  }

  #byLimit(compresses: boolean): Map<number, Map<string, GrpcChannel>> {
    return compresses ? this.#compressing : this.#plain;
  }

  #open(address: string, kind: ChannelKind): GrpcChannel {
    const { maxReceiveBytes, compresses } = kind;
    if (this.#isClosed) throw usedAfterClose();
    assertCallable(address);
    this.#letGo();
    const { credentials, channelOptions, maxMetadataBytes, clock } = this.#options;
    const channel = new Channel(`dns:${address}`, credentials(), {
      ...channelOptions,
      'grpc.default_authority': address,
      'grpc.max_receive_message_length': maxReceiveBytes,
      ...(compresses ? { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip } : {}),
    });
    const line = new GrpcChannel(
      address,
      channel,
      { ...kind, maxMetadataBytes, usedMs: clock.monotonicMs(), notUnderstood: () => this.#unable.add(address) },
      (silent) => this.#giveUp(silent),
    );
    const byLimit = this.#byLimit(compresses);
    let lines = byLimit.get(maxReceiveBytes);
    if (!lines) byLimit.set(maxReceiveBytes, (lines = new Map()));
    lines.set(address, line);
    return line;
  }

  /** Nodes come and go, and each has an address of its own: without this a client would keep trying those that are gone. */
  #letGo(): void {
    const oldest = this.#options.clock.monotonicMs() - this.#options.idleMs;
    for (const line of this.#all()) {
      if (line.calls.size > 0 || line.usedMs > oldest || this.#givenUp.has(line)) continue;
      line.channel.close();
      this.#byLimit(line.compresses).get(line.maxReceiveBytes)?.delete(line.address);
      // Another server may come to be there.
      this.#unable.delete(line.address);
    }
  }

  /** Its calls go on; the next one is made on a connection of its own. */
  #giveUp(line: GrpcChannel): void {
    const lines = this.#byLimit(line.compresses).get(line.maxReceiveBytes);
    if (lines?.get(line.address) !== line) return;
    lines.delete(line.address);
    if (line.calls.size > 0) this.#givenUp.add(line);
    for (const other of this.#givenUp) if (other.calls.size === 0) this.#givenUp.delete(other);
  }

  #all(): GrpcChannel[] {
    const maps = [...this.#plain.values(), ...this.#compressing.values()];
    return [...maps.flatMap((lines) => [...lines.values()]), ...this.#givenUp];
  }
}
