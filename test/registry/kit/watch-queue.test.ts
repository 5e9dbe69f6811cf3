import { describe, expect, it } from '@jest/globals';

import { WatchQueue } from '../../../src/registry/kit/watch-queue.ts';
import type { RegistryEvent } from '../../../src/registry/registry.ts';
import { serviceOf } from '../support.ts';

const event: RegistryEvent = { action: 'create', service: serviceOf('greeter', ['n1']) };

async function read(queue: WatchQueue): Promise<readonly RegistryEvent[]> {
  const events: RegistryEvent[] = [];
  for await (const one of queue) events.push(one);
  return events;
}

describe('WatchQueue', () => {
  it.each<[string, (queue: WatchQueue, controller: AbortController) => void]>([
    ['stop()', (queue) => queue.stop()],
    ['an abort of its signal', (_, controller) => controller.abort()],
  ])('drops queued events and ends the iteration after %s', async (_name, end) => {
    const controller = new AbortController();
    let stops = 0;
    const queue = new WatchQueue({ signal: controller.signal }, () => (stops += 1));
    queue.push(event);
    end(queue, controller);
    queue.push(event);
    expect([await read(queue), queue.isStopped, stops]).toEqual([[], true, 1]);
  });

  it('delivers queued events before the error of a lost watch', async () => {
    const queue = new WatchQueue({}, () => {});
    queue.push(event);
    queue.fail('the connection was lost');
    const events = queue[Symbol.asyncIterator]();
    expect((await events.next()).value).toBe(event);
    await expect(events.next()).rejects.toMatchObject({ reason: 'registry.watch_lost' });
  });
});
