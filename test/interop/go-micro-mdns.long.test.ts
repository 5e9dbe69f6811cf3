import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { beforeAll, describe, expect, it } from '@jest/globals';

import type { NodeRecord, ServiceRecord } from '../../src/registry/registry.ts';
import { startNode } from '../support/process.ts';
import { describeWith } from '../support/require.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';

const fleet = fileURLToPath(new URL('./programs/mdns-fleet.mjs', import.meta.url));

/** A network of its own, as Go Micro asks at the system's interface and at port 5353 alone. */
const network =
  'ip link set lo up; ip link add v0 type veth peer name v1; ip addr add 10.99.0.1/24 dev v0; ' +
  'ip link set v0 up; ip link set v1 up; ip route add 224.0.0.0/4 dev v0';
const inNetwork = (command: string): string[] => ['-rn', 'sh', '-ec', `${network}; ${command}`];
const missing = spawnSync('unshare', inNetwork('true')).status === 0 ? undefined : 'unshare -rn cannot be used here';

describeWith('one fleet over multicast DNS', 'unshare', missing, () => {
  describe.each(['go-micro-v5', 'go-micro-v4'])('%s', (program) => {
    describeWithTools('and tenon', [program], () => {
      let said: Record<string, unknown>[];
      beforeAll(async () => {
        const args = [...inNetwork('exec "$0" "$@"').slice(1), process.execPath, fleet, toolPath(program)];
        const child = startNode('-rn', { command: 'unshare', args });
        await child.waitForLine(/"gone":"tenon\.srv\.greeter"/, 60_000);
        said = child.lines
          .filter((line) => line.startsWith('{'))
          .map((line) => JSON.parse(line) as (typeof said)[number]);
      }, 90_000);

      it("finds tenon's service, with its version, its endpoints and its metadata, and calls it", () => {
        const own = said[0]?.['own'] as NodeRecord;
        expect(said[1]?.['names']).toEqual(expect.arrayContaining(['tenon.srv.greeter', 'go.micro.srv.greeter']));
        expect(said[2]?.['services']).toEqual([
          expect.objectContaining({
            version: '1.2.0',
            endpoints: expect.arrayContaining([expect.objectContaining({ name: 'Greeter.Hello' })]),
            nodes: [{ id: own.id, address: own.address, metadata: own.metadata }],
          }),
        ]);
        expect(said[3]).toEqual({ command: 'call tenon.srv.greeter', reply: 'Hello John of tenon' });
      });

      it('is found and called by tenon', () => {
        const found = said[0]?.['found'] as ServiceRecord;
        expect(found).toMatchObject({
          name: 'go.micro.srv.greeter',
          version: '2.1.0',
          nodes: [{ address: said[0]?.['goAddress'], metadata: { zone: 'a', protocol: 'grpc' } }],
        });
        expect(found.endpoints.map(({ name }) => name)).toContain('Greeter.Hello');
        expect(said[4]).toEqual({ msg: 'Hello John' });
      });

      it('is seen to go, and sees tenon go', () => {
        expect(said.slice(5)).toEqual([{ gone: 'go.micro.srv.greeter' }, { gone: 'tenon.srv.greeter' }]);
      });
    });
  });
});
