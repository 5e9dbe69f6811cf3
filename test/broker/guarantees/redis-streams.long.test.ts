import { RedisStreamsBroker } from '../../../src/broker/redis-streams.ts';
import { silentLogger as logger } from '../../../src/logger/logger.ts';
import { RedisServer } from '../../support/servers.ts';
import { type BrokerSetting, describeGuarantees, durable, erased } from './guarantees.ts';

const make: BrokerSetting['make'] = ({ address }) =>
  new RedisStreamsBroker({ address, logger, claimIdleMs: 2_000, timeoutMs: 2_000 });

describeGuarantees({
  heading: 'redis-streams, with appendfsync always',
  server: new RedisServer({ persistent: true }),
  make,
  cells: durable,
});

const unwritten = ['may', 'what Redis had not written to its file'] as const;

describeGuarantees({
  heading: 'redis-streams, with appendfsync everysec',
  // The last value of a setting counts.
  server: new RedisServer({ persistent: true, args: ['--appendfsync', 'everysec'] }),
  make,
  cells: { kill: { here: unwritten, away: unwritten } },
});

describeGuarantees({
  heading: 'redis-streams, without appendonly',
  server: new RedisServer(),
  make,
  cells: { kill: erased },
});
