import { Channel, type ChannelCredentials, type ChannelOptions, compressionAlgorithms } from '@grpc/grpc-js';

import type { TenonError } from '../../errors/errors.ts';
import type { Clock } from '../../runtime/runtime.ts';
import { defaultMaxMessageBytes } from '../transport.ts';
import { assertCallable } from './address.ts';
import { transportClosed } from './failures.ts';

/** A call that can be ended from outside. */
export interface OpenCall {
  fail(error: TenonError): void;
}

/** The connection to one address, shared by its calls. */
export class Line {
  readonly address: string;
  readonly channel: Channel;
  readonly maxReceiveBytes: number;
  /** Its calls may send compressed messages. */
  readonly compresses: boolean;
  readonly maxMetadataBytes: number;
  readonly calls = new Set<OpenCall>();
  usedMs: number;

  /** To be called when the server does not understand what is compressed: it is sent no more of it. */
  readonly notUnderstood: () => void;

  constructor(
    address: string,
    channel: Channel,
    kind: LineKind & Pick<Line, 'maxMetadataBytes' | 'notUnderstood' | 'usedMs'>,
  ) {
    this.address = address;
    this.channel = channel;
    this.maxReceiveBytes = kind.maxReceiveBytes;
    this.compresses = kind.compresses;
    this.notUnderstood = kind.notUnderstood;
    this.maxMetadataBytes = kind.maxMetadataBytes;
    this.usedMs = kind.usedMs;
  }
}

/** What is a property of the connection in grpc-js, so that calls which differ in it share none. */
interface LineKind {
  readonly maxReceiveBytes: number;
  readonly compresses: boolean;
}

/** How connections are made. */
export interface LineOptions {
  /** Asked once per line. Throws where there can be none. */
  readonly credentials: () => ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  readonly maxMetadataBytes: number;
  /** Unused for so long, a connection is let go of. */
  readonly idleMs: number;
  readonly clock: Clock;
}

/** The connections of a transport. */
export class Lines {
  readonly #options: LineOptions;
  readonly #plain = new Map<number, Map<string, Line>>();
  readonly #compressing = new Map<number, Map<string, Line>>();

  /** Addresses of servers that do not understand what is compressed. */
  readonly #unable = new Set<string>();

  constructor(options: LineOptions) {
    this.#options = options;
  }

  /** Throws INVALID_ARGUMENT (`transport.invalid_address`), and FAILED_PRECONDITION (`transport.tls_invalid`) for TLS that cannot work. */
  to(address: string, maxReceiveBytes: number = defaultMaxMessageBytes, compress = false): Line {
    const compresses = compress && !this.#unable.has(address);
    const line = this.#byLimit(compresses).get(maxReceiveBytes)?.get(address);
    return line ?? this.#open(address, { maxReceiveBytes, compresses });
  }

  close(): void {
    for (const line of this.#all()) {
      for (const call of line.calls) call.fail(transportClosed());
      line.channel.close();
    }
    this.#plain.clear();
    this.#compressing.clear();
    this.#unable.clear();
  }

  #byLimit(compresses: boolean): Map<number, Map<string, Line>> {
    return compresses ? this.#compressing : this.#plain;
  }

  #open(address: string, kind: LineKind): Line {
    const { maxReceiveBytes, compresses } = kind;
    assertCallable(address);
    this.#letGo();
    const { credentials, channelOptions, maxMetadataBytes, clock } = this.#options;
    const channel = new Channel(`dns:${address}`, credentials(), {
      ...channelOptions,
      'grpc.default_authority': address,
      'grpc.max_receive_message_length': maxReceiveBytes,
      ...(compresses ? { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip } : {}),
    });
    const line = new Line(address, channel, {
      ...kind,
      maxMetadataBytes,
      usedMs: clock.monotonicMs(),
      notUnderstood: () => this.#unable.add(address),
    });
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
      if (line.calls.size > 0 || line.usedMs > oldest) continue;
      line.channel.close();
      this.#byLimit(line.compresses).get(line.maxReceiveBytes)?.delete(line.address);
      // Another server may come to be there.
      this.#unable.delete(line.address);
    }
  }

  #all(): Line[] {
    return [...this.#plain.values(), ...this.#compressing.values()].flatMap((lines) => [...lines.values()]);
  }
}
