import type { Socket } from 'node:net';

import { textOf } from '../../errors/errors.ts';
import { isValidSubject } from '../../nats/nats.ts';
import type { Random } from '../../runtime/runtime.ts';
import { addressInUse, cannotListen, notAnAddress } from '../call/failures.ts';
import type { AddressScheme, ListenTarget } from '../sockets/address-scheme.ts';
import type { NatsExchange } from './exchange.ts';
import type { NatsSocket } from './nats-socket.ts';

const remedy = 'Write a subject, such as nats:tenon.greeter';
const anyPort = /^[^/:]*:0$/;

/** The addresses of a {@link NatsExchange}, by subjects. Port 0, of whatever host, is a new subject below `prefix`. */
export function natsAddresses(exchange: () => NatsExchange, prefix: string, random: Random): AddressScheme {
  return {
    listening: (address) =>
      anyPort.test(address)
        ? new Subject(`${prefix}.${random.uuid().replaceAll('-', '')}`)
        : new Subject(subjectOf(address)),
    assertCallable: (address) => void subjectOf(address),
    connecting: (address) => ({ path: subjectOf(address) }),
    // Who uses it needs a stream that can be kept from holding the process alive, which this is.
    connect: (address) => exchange().dial(subjectOf(address)) as unknown as Socket,
    hostOf: () => '',
    localOf: () => '',
    remoteOf: (socket) => `nats:${(socket as unknown as NatsSocket).peer}`,
  };
}

class Subject implements ListenTarget {
  readonly options: { readonly path: string };
  readonly #subject: string;

  constructor(subject: string) {
    this.#subject = subject;
    this.options = { path: subject };
  }

  bound(): string {
    return `nats:${this.#subject}`;
  }

  failure(error: unknown): unknown {
    if ((error as { readonly code?: unknown }).code === 'EADDRINUSE')
      return addressInUse(this.bound(), error, 'another subject');
    return cannotListen(this.bound(), textOf(error), error, 'Start NATS, or say where it is');
  }
}

function subjectOf(address: string): string {
  if (!address.startsWith('nats:')) throw notAnAddress(address, 'it does not begin with nats:', remedy);
  const subject = address.slice('nats:'.length);
  // A URL of a server is easily taken for the address of a service.
  if (!isValidSubject(subject) || /[:/]/.test(subject))
    throw notAnAddress(address, 'what is behind nats: is not a subject', remedy);
  return subject;
}
