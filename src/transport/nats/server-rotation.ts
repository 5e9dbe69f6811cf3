import { Code, TenonError } from '../../errors/errors.ts';
import { parseHostPorts } from '../../internal/host-port.ts';
import { maskAddress } from '../../internal/mask.ts';
import type { ServerAddress, ServerAddresses } from '../../runtime/connection-loop.ts';
import type { Random } from '../../runtime/runtime.ts';

const defaultPort = 4222;

/** The servers of one cluster: the one that was reached last is tried first, then those behind it. */
export class ServerRotation implements ServerAddresses {
  readonly size: number;
  #order: readonly ServerAddress[];

  /** Each process begins with another one. Throws INVALID_ARGUMENT (`transport.invalid_address`). */
  constructor(text: string, random: Pick<Random, 'next'>) {
    const addresses = addressesOf(text.replace(/^nats:\/\//, ''));
    this.size = addresses.length;
    this.#order = rotated(addresses, Math.floor(random.next() * addresses.length));
  }

  get inOrder(): readonly ServerAddress[] {
    return this.#order;
  }

  succeeded(address: ServerAddress): void {
    this.#order = rotated(this.#order, this.#order.indexOf(address));
  }

  failed(): void {}
}

function rotated(addresses: readonly ServerAddress[], start: number): readonly ServerAddress[] {
  return [...addresses.slice(start), ...addresses.slice(0, start)];
}

function addressesOf(text: string): readonly ServerAddress[] {
  const addresses = parseHostPorts(text, defaultPort);
  if (addresses) return addresses;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'transport.invalid_address',
    message: `"${maskAddress(text)}" is no address of NATS: write host:port, several by commas`,
  });
}
