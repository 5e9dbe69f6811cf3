import { describe, expect, it } from '@jest/globals';

import { MemoryRegistry, MemoryRegistryStore } from '../../src/registry/memory.ts';
import { WatchRecorder } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { idsOf, nodeOf, serviceOf } from './support.ts';

describe('MemoryRegistry', () => {
  it('shares nodes with instances of the same store, and with no others', async () => {
    const store = new MemoryRegistryStore();
    const [one, other, stranger] = [new MemoryRegistry({ store }), new MemoryRegistry({ store }), new MemoryRegistry()];
    const seen = new WatchRecorder(await other.watch());
    await one.register(serviceOf('greeter', ['n1']));
    expect(await idsOf(other, 'greeter')).toEqual(['n1']);
    expect(await idsOf(stranger, 'greeter')).toEqual([]);
    await one.close();
    expect(await idsOf(other, 'greeter')).toEqual(['n1']);
    await other.close();
    expect(await seen.ended).toBeUndefined();
    expect(seen.texts).toEqual(['create n1']);
  });

  it('expires each lease after the time of its own registration', async () => {
    const runtime = virtualRuntime();
    const { timers } = runtime;
    const registry = new MemoryRegistry({ runtime });
    const seen = new WatchRecorder(await registry.watch());
    await registry.register(serviceOf('greeter', ['n1']), { ttlMs: 1_000 });
    await registry.register(serviceOf('greeter', ['n2']), { ttlMs: 3_000 });
    await registry.register(serviceOf('other', ['n3']), { ttlMs: 500 });
    await timers.advance(499);
    expect(seen.texts).toEqual(['create n1', 'create n2', 'create n3']);
    await timers.advance(1);
    expect(seen.texts.slice(3)).toEqual(['delete n3']);
    await registry.register(serviceOf('greeter', ['n1']), { ttlMs: 1_000 });
    await timers.advance(999);
    expect(await idsOf(registry, 'greeter')).toEqual(['n1', 'n2']);
    await timers.advance(1);
    expect(await idsOf(registry, 'greeter')).toEqual(['n2']);
    await timers.advance(1_500);
    expect(seen.texts.slice(3)).toEqual(['delete n3', 'delete n1', 'delete n2']);
    await registry.close();
  });

  it('keeps a copy of a record, which later changes of the object do not reach', async () => {
    const registry = new MemoryRegistry();
    const metadata = { zone: 'a' };
    await registry.register(serviceOf('greeter', [nodeOf('n1', { metadata })]));
    metadata.zone = 'b';
    expect((await registry.getService('greeter'))[0]?.nodes[0]?.metadata).toEqual({ zone: 'a' });
    await registry.close();
  });

  it('ends a watcher with an error if its reader has stopped reading', async () => {
    const registry = new MemoryRegistry();
    const watcher = await registry.watch();
    for (let index = 0; index < 2_000; index += 1) await registry.register(serviceOf('greeter', [`n${index}`]));
    const seen = new WatchRecorder(watcher);
    expect(await seen.ended).toMatchObject({
      reason: 'registry.watch_lost',
      message: expect.stringMatching(/lags too far behind/),
    });
    expect(seen.events.length).toBeLessThan(2_000);
    await registry.close();
  });
});
