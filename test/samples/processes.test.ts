import { describe, expect, it } from '@jest/globals';

import { type Exit, startNode } from '../support/process.ts';
import { describeWithRedis } from '../support/servers.ts';
import { privateMdns, promisedOutput, sampleFolder, sampleMain, servePlaces } from './support.ts';

const quiet = { TENON_LOG_LEVEL: 'warn', TENON_PROFILE: 'dev' };

/** Calls what is served elsewhere from a process of its own, and gives what it printed. */
async function callFromElsewhere(
  env: Readonly<Record<string, string>>,
): Promise<{ exit: Exit; stdout: string; stderr: string }> {
  const caller = startNode(sampleMain('places'), { args: ['--call'], env, cwd: sampleFolder('places') });
  return { exit: await caller.waitForExit(), stdout: caller.stdout, stderr: caller.stderr };
}

const success = { exit: { code: 0, signal: null }, stdout: promisedOutput('places'), stderr: '' };

describe('places in one process, its caller in another', () => {
  it('find each other through mDNS, with nothing configured', async () => {
    const env = { ...quiet, ...(await privateMdns()) };
    const served = await servePlaces(env);
    expect(Object.keys(served.addresses)).toEqual(['places', 'audit']);
    expect(await callFromElsewhere(env)).toEqual(success);
    expect(await served.process.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  it('says which service it did not find', async () => {
    const env = { ...quiet, ...(await privateMdns()) };
    const { exit, stderr } = await callFromElsewhere(env);
    expect(exit).toEqual({ code: 1, signal: null });
    expect(stderr).toContain('"places"');
  });
});

describeWithRedis('places, its audit and its caller in three processes', (redis) => {
  it('find each other and pass events through Redis, by two changed variables', async () => {
    const env = {
      ...quiet,
      TENON_REGISTRY: `redis://${redis.address}`,
      TENON_BROKER: `redis-streams://${redis.address}`,
    };
    const audit = await servePlaces(env, ['audit']);
    const places = await servePlaces(env, ['places']);
    expect(Object.keys(places.addresses)).toEqual(['places']);
    // The audit's part of the output comes from events that the other process published.
    expect(await callFromElsewhere(env)).toEqual(success);
    for (const { process } of [places, audit]) expect(await process.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});
