import type { RedisOptions as AnyRedisOptions } from 'ioredis';

import * as failures from './failures.ts';

/** Settings of a connection. How replies are mapped is not among them: the brokers read them as they come. */
export type RedisOptions = Omit<AnyRedisOptions, 'replyMapping'>;

/** Where a Redis is, for ioredis and for messages. */
export interface RedisAddress {
  /** `host:port`, without secrets. */
  readonly text: string;
  readonly options: RedisOptions;
}

const defaultPort = 6379;

/** Reads `host:port`, `host`, `redis://…` and `rediss://…`. INVALID_ARGUMENT (`broker.invalid_address`) for anything else. */
export function redisAddress(broker: string, address: string): RedisAddress {
  const refuse = (): never => {
    throw failures.invalidAddress(broker, address.replace(/\/\/.*@/, '//…@'));
  };
  if (/^rediss?:\/\//i.test(address)) {
    const url = URL.canParse(address) ? new URL(address) : refuse();
    const database = url.pathname.replace(/^\//, '');
    if (url.hostname === '' || !/^\d*$/.test(database)) refuse();
    return located(url.hostname, url.port, {
      ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
      ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
      ...(database === '' ? {} : { db: Number(database) }),
      ...(url.protocol.toLowerCase() === 'rediss:' ? { tls: {} } : {}),
    });
  }
  const [, host, port = ''] = /^(\[[0-9a-f:.]+\]|[^:,\s/@[\]]+)(?::(\d{1,5}))?$/i.exec(address.trim()) ?? refuse();
  if (host === undefined || Number(port) > 65_535) return refuse();
  return located(host, port, {});
}

function located(host: string, port: string, options: RedisOptions): RedisAddress {
  const number = port === '' ? defaultPort : Number(port);
  return { text: `${host}:${number}`, options: { ...options, host: host.replace(/^\[|\]$/g, ''), port: number } };
}
