/** The address and credentials of a Redis, in ioredis's names. */
export interface RedisPlace {
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
  readonly db?: number;
  readonly tls?: Readonly<Record<string, never>>;
}

const defaultPort = 6379;

/**
 * Parses `host:port`, `host`, `redis://user:password@host:port/database` and `rediss://…`; `undefined` for anything
 * else.
 */
export function parseRedisAddress(address: string): RedisPlace | undefined {
  if (/^rediss?:\/\//i.test(address)) return URL.canParse(address) ? placeIn(new URL(address)) : undefined;
  const [, host, port = ''] = /^(\[[0-9a-f:.]+\]|[^:,\s/@[\]]+)(?::(\d{1,5}))?$/i.exec(address.trim()) ?? [];
  return host === undefined || Number(port) > 65_535 ? undefined : placed(host, port);
}

/** Says, for an error message, how to write the address of a Redis. */
export function redisAddressRemedy(address: string): string {
  const percent = decoded(address) === undefined ? ', and a % in it as %25' : '';
  return `write host:port, or redis://user:password@host:port/database${percent}`;
}

/** True for an error reply of Redis; other errors are of the connection. */
export function isRedisReply(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError';
}

const temporary = /^(?:LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS|MISCONF)\b/;

/** True for an error reply after which a later attempt may succeed, by its first word. */
export function isTemporaryReply(error: Error): boolean {
  return temporary.test(error.message);
}

function placeIn({
  hostname,
  port,
  username,
  password,
  pathname,
  protocol,
  search,
  hash,
}: URL): RedisPlace | undefined {
  const database = pathname.replace(/^\//, '');
  const [user, secret] = [decoded(username), decoded(password)];
  if (hostname === '' || !/^\d*$/.test(database) || user === undefined || secret === undefined) return undefined;
  // Options after a ? are refused: one that asks for TLS must not be ignored.
  if (search !== '' || hash !== '') return undefined;
  return {
    ...placed(hostname, port),
    ...(username === '' ? {} : { username: user }),
    ...(password === '' ? {} : { password: secret }),
    ...(database === '' ? {} : { db: Number(database) }),
    ...(protocol.toLowerCase() === 'rediss:' ? { tls: {} } : {}),
  };
}

/** Decodes percent escapes; `undefined` if they are invalid. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function placed(host: string, port: string): { readonly host: string; readonly port: number } {
  return { host: host.replace(/^\[|\]$/g, ''), port: port === '' ? defaultPort : Number(port) };
}
