import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { afterEach } from '@jest/globals';

import type { Broker } from '../../src/broker/broker.ts';
import { loadLibrary, type NatsConnection } from '../../src/broker/nats/library.ts';
import type { JetStreamLibrary, JetStreamManager } from '../../src/broker/nats-jetstream/library.ts';
import { NatsJetStreamBroker, type NatsJetStreamBrokerOptions } from '../../src/broker/nats-jetstream.ts';
import { type BackendServer, type ServerOptions, startServer } from '../support/servers.ts';
import { eventually, publishText, RecordingLogger } from './support.ts';

export const patienceMs = 60_000;
const program = fileURLToPath(new URL('programs/nats-member.mjs', import.meta.url));
/** Run after each test of the file, the last first. */
export const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A broker that is disconnected after the test. */
export async function connected(address: string, options: NatsJetStreamBrokerOptions = {}) {
  const logger = new RecordingLogger();
  const broker = new NatsJetStreamBroker({ address, logger, ...options });
  closing.push(() => broker.disconnect());
  await broker.connect();
  const said = (level: string): string[] =>
    logger.lines.filter((line) => line.level === level).map(({ message }) => message);
  return { broker, logger, said };
}

/** A server that ends with the test. */
export async function server(options: ServerOptions = {}): Promise<BackendServer> {
  const started = await startServer('nats-jetstream', options);
  closing.push(() => started.dispose());
  return started;
}

const { jetstreamManager } = loadLibrary<JetStreamLibrary>('nats-jetstream', '@nats-io/jetstream');

export const managerOf = (broker: Broker): Promise<JetStreamManager> =>
  jetstreamManager(broker.unwrap() as NatsConnection);
export const streamOf = async (broker: Broker, topic: string): Promise<string> =>
  (await managerOf(broker)).streams.find(topic);

/** Numbers of events of a group that are delivered and not acknowledged, and that wait. */
export async function pendingOf(broker: Broker, topic: string, queue = 'q'): Promise<[number, number]> {
  const info = await (await managerOf(broker)).consumers.info(await streamOf(broker, topic), `${queue}_${topic}`);
  return [info.num_ack_pending, info.num_pending];
}

/** Publishes without end until it is stopped, no faster than events are handled, and keeps what was confirmed. */
export function publishing(broker: Broker, topic: string) {
  const stored: string[] = [];
  let isOn = true;
  const work = (async () => {
    for (let number = 0; isOn; number += 1) {
      await publishText(broker, topic, String(number)).then(
        () => stored.push(String(number)),
        () => undefined,
      );
      if (number % 4 === 0) await sleep(5);
    }
  })();
  return { stored, stop: () => ((isOn = false), work) };
}

/** A member of the queue in a process of its own. */
export async function member(address: string, topic: string, ackWaitMs: number, workMs = 0) {
  const child: ChildProcess = spawn(process.execPath, [program, address, topic, String(ackWaitMs), String(workMs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout! }).on('line', (line) => lines.push(line));
  closing.push(() => child.kill('SIGKILL'));
  await eventually('the member', () => lines.includes('ready'), patienceMs);
  return { child, lines };
}

export const away = (broker: Broker): Promise<void> =>
  eventually('it is away', () => broker.status.state === 'away', patienceMs);
export const back = (broker: Broker): Promise<void> =>
  eventually('it is back', () => broker.status.state === 'connected', patienceMs);
