import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';

import { groups } from './cases/all.ts';
import { engines, type HostileCase, run } from './support/cases.ts';
import { HostileService } from './support/service.ts';

describe.each(engines)('a service on %s', (engine) => {
  let service: HostileService;

  beforeAll(async () => {
    service = await HostileService.start(engine);
  }, 120_000);

  // One that was ended by a peer fails that peer's case alone.
  afterEach(async () => {
    if (service.process.exit) service = await HostileService.start(engine);
  });

  afterAll(() => service.stop());

  describe.each(Object.keys(groups))('and bad peers: %s', (group) => {
    it.each(groups[group] as HostileCase[])(
      '$name',
      async (hostile) => {
        const seen = await run(hostile, service.address);
        expect(await service.goodCall()).toBe('status 0');
        expect(await service.idle()).toMatchObject({ inFlight: 0, running: 0, warnings: 0 });
        const sees = hostile.except?.[engine]?.sees ?? hostile.sees;
        if (sees) expect(seen).toMatch(sees);
      },
      120_000,
    );

    // Some that Node 20 forgets are open until they do not answer a ping (`serverKeepaliveMs`).
    it('keeps no connection of a bad peer', async () => {
      expect(await service.idle(1)).toMatchObject({ inFlight: 0, running: 0, sockets: 1 });
    }, 120_000);
  });

  it('stops without an error after all bad peers', async () => {
    expect(await service.stop()).toBe(0);
  }, 120_000);
});
