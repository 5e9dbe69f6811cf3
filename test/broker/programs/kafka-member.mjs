// A member of the queue, by deliver(). It says what it begins and what it has handled, and ends when it is killed.
// An event "kill …" ends the process at each attempt; "slow …" takes as many milliseconds as it says.
import { setTimeout as sleep } from 'node:timers/promises';

import { deliver } from '../../../dist/broker/delivery.js';
import { KafkaBroker } from '../../../dist/broker/kafka.js';
import { ConsoleLogger } from '../../../dist/logger/console.js';
import { systemRuntime } from '../../../dist/runtime/system.js';

const {
  address,
  topic,
  maxMs = 0,
  retry = 3,
  maxInFlight = 16,
  sessionTimeoutMs = 6_000,
} = JSON.parse(process.argv[2]);
const logger = new ConsoleLogger({ level: 'warn' });
const broker = new KafkaBroker({ address, logger, sessionTimeoutMs });
await broker.connect();
const say = (line) => process.stdout.write(`${line}\n`);
await deliver(
  broker,
  topic,
  { queue: 'q', retry, retryDelayMs: 50, maxInFlight },
  async (event) => {
    const text = Buffer.from(event.body).toString();
    say(`begun ${text} at attempt ${event.attempt}`);
    if (text.startsWith('kill')) {
      // What is written to a pipe is there before the process ends.
      process.kill(process.pid, 'SIGKILL');
      await sleep(60_000);
    }
    const [, slowMs] = /^slow (\d+)/.exec(text) ?? [];
    await sleep(slowMs === undefined ? Math.random() * maxMs : Number(slowMs));
    say(`handled ${text}`);
  },
  { runtime: systemRuntime, logger },
);
say('ready');
