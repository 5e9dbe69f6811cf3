import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { System } from 'tenon';

import { cases, type Peer } from './cases.ts';
import { connect } from './peer.ts';
import { ServerId, TestService } from './test-service.ts';
import { type TestApi, testSource } from './testing-api.ts';

const env = { TENON_PROFILE: 'local', TENON_LOG_LEVEL: 'warn' };

void describe('the test service', () => {
  let system: System;
  let peer: Peer & { readonly close: () => Promise<void> };
  before(async () => {
    system = await System.start([TestService], {
      env,
      bind: (container) => container.bind(ServerId).toConstantValue('n1'),
    });
    peer = await connect(system.services[0]?.server().address ?? '', 3, { env });
  });
  after(async () => {
    await peer.close();
    await system.stop();
  });

  for (const [name, run] of Object.entries(cases)) void it(name, () => run(peer));

  void it('says who answered, if it is asked to', async () => {
    const test = system.client<TestApi>(testSource);
    assert.equal((await test.unaryCall({ fillServerId: true }, { service: 'interop.echo' })).serverId, 'n1');
    assert.equal((await test.unaryCall({}, { service: 'interop.echo' })).serverId, '');
  });

  void it('answers a half-duplex call when the requests have all come', async () => {
    const requests = [1, 2].map((size) => ({ responseParameters: [{ size }] }));
    const sizes: (number | undefined)[] = [];
    for await (const { payload } of peer.test.halfDuplexCall(requests, peer.to)) sizes.push(payload?.body.length);
    assert.deepEqual(sizes, [1, 2]);
  });
});
