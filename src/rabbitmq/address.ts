import { parseHostPorts } from '../internal/host-port.ts';
import { maskAddress } from '../internal/mask.ts';
import type { RabbitMqServer } from './rabbitmq.ts';

/** The parts of an address. */
export interface RabbitMqPlace {
  /** One at least. */
  readonly servers: readonly RabbitMqServer[];
  readonly isSecure: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly vhost: string | undefined;
}

const remedy = 'write host:port, several by commas, or amqp://user:password@host:port/vhost';

/**
 * Parses an address. Throws what `invalid` makes of one that is none, with secrets masked, or that repeats what
 * `credentials` say.
 */
export function rabbitMqPlace(
  address: string,
  hasCredentials: boolean,
  invalid: (address: string, remedy: string) => Error,
): RabbitMqPlace {
  const shown = maskAddress(address);
  const [, scheme = '', user, secret, hosts = '', path = ''] =
    /^(?:(amqps?):\/\/)?(?:([^:@/]*)(?::([^@/]*))?@)?([^/?#@]+)(?:\/([^/?#]*))?$/i.exec(address.trim()) ?? [];
  const isSecure = scheme.toLowerCase() === 'amqps';
  const servers = parseHostPorts(hosts, isSecure ? 5_671 : 5_672);
  if (!servers) throw invalid(shown, remedy);
  const decoded = (text: string | undefined): string | undefined => {
    try {
      return text === undefined || text === '' ? undefined : decodeURIComponent(text);
    } catch {
      throw invalid(shown, `${remedy}, and a % in it as %25`);
    }
  };
  const [username, password] = [decoded(user), decoded(secret)];
  if (hasCredentials && (username !== undefined || password !== undefined))
    throw invalid(shown, 'user and password stand in it, and in credentials as well: say them once');
  return { servers, isSecure, username, password, vhost: decoded(path) };
}
