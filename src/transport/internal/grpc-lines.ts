import { Channel, type ChannelCredentials, type ChannelOptions } from '@grpc/grpc-js';

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
  readonly calls = new Set<OpenCall>();
  usedMs: number;

  constructor(address: string, channel: Channel, maxReceiveBytes: number, nowMs: number) {
    this.address = address;
    this.channel = channel;
    this.maxReceiveBytes = maxReceiveBytes;
    this.usedMs = nowMs;
  }
}

/** How connections are made. */
export interface LineOptions {
  /** Asked once per line. Throws where there can be none. */
  readonly credentials: () => ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  /** Unused for so long, a connection is let go of. */
  readonly idleMs: number;
  readonly clock: Clock;
}

/** The connections of a transport. A limit is a property of the connection in grpc-js, so calls of different limits share none. */
export class Lines {
  readonly #options: LineOptions;
  readonly #byLimit = new Map<number, Map<string, Line>>();

  constructor(options: LineOptions) {
    this.#options = options;
  }

  /** Throws INVALID_ARGUMENT (`transport.invalid_address`), and FAILED_PRECONDITION (`transport.tls_invalid`) for TLS that cannot work. */
  to(address: string, maxReceiveBytes: number = defaultMaxMessageBytes): Line {
    return this.#byLimit.get(maxReceiveBytes)?.get(address) ?? this.#open(address, maxReceiveBytes);
  }

  close(): void {
    for (const line of this.#all()) {
      for (const call of line.calls) call.fail(transportClosed());
      line.channel.close();
    }
    this.#byLimit.clear();
  }

  #open(address: string, maxReceiveBytes: number): Line {
    assertCallable(address);
    this.#letGo();
    const { credentials, channelOptions, clock } = this.#options;
    const channel = new Channel(`dns:${address}`, credentials(), {
      ...channelOptions,
      'grpc.default_authority': address,
      'grpc.max_receive_message_length': maxReceiveBytes,
    });
    const line = new Line(address, channel, maxReceiveBytes, clock.monotonicMs());
    let lines = this.#byLimit.get(maxReceiveBytes);
    if (!lines) this.#byLimit.set(maxReceiveBytes, (lines = new Map()));
    lines.set(address, line);
    return line;
  }

  /** Nodes come and go, and each has an address of its own: without this a client would keep trying those that are gone. */
  #letGo(): void {
    const oldest = this.#options.clock.monotonicMs() - this.#options.idleMs;
    for (const line of this.#all()) {
      if (line.calls.size > 0 || line.usedMs > oldest) continue;
      line.channel.close();
      this.#byLimit.get(line.maxReceiveBytes)?.delete(line.address);
    }
  }

  #all(): Line[] {
    return [...this.#byLimit.values()].flatMap((lines) => [...lines.values()]);
  }
}
