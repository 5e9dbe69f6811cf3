import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { expect, it } from '@jest/globals';
import { encode } from 'dns-packet';

import { MdnsRegistry } from '../../src/registry/mdns.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { freePort, startNode } from '../support/process.ts';
import { describeWith } from '../support/require.ts';
import { eventually } from '../support/waiting.ts';
import { question } from './support.ts';

const patientMs = 30_000;
const programOf = (name: string): string => fileURLToPath(new URL(`./programs/${name}`, import.meta.url));

/** Runs a line of a shell in a network of its own: only loopback is there. */
function inNetwork(script: string): readonly [string, ...string[]] {
  return ['unshare', '-rn', 'sh', '-ec', `ip link set lo up; ${script}`];
}

function missing(what: string, [command, ...args]: readonly [string, ...string[]]): string | undefined {
  return spawnSync(command, args).status === 0 ? undefined : `${what} cannot be used here`;
}

it('of multicast on loopback over IPv6 says that there is none, unless the system has it', async () => {
  const registry = new MdnsRegistry({ interface: '::1', port: await freePort(), timeoutMs: 10_000 });
  const outcome = await registry.register(serviceOf('greeter', [nodeOf('n1')])).then(
    () => 'registered',
    (error: unknown) => String((error as { reason?: unknown }).reason),
  );
  await registry.close();
  expect(['registered', 'registry.unreachable']).toContain(outcome);
}, 60_000);

describeWith('packets of MdnsRegistry', 'python3', missing('python3', ['python3', '-c', 'import socket']), () => {
  it('have an IP TTL of 255, announcements, questions and answers alike (RFC 6762 section 11)', async () => {
    const port = await freePort();
    const ask = encode({ type: 'query', questions: [question('greeter.micro')] }).toString('hex');
    const capture = startNode(programOf('capture.py'), { command: 'python3', args: [String(port), ask] });
    await capture.waitForLine(/^ready$/);
    const registry = new MdnsRegistry({ interface: '127.0.0.1', port });
    try {
      const service = serviceOf('greeter', [nodeOf('n1')]);
      await registry.register(service);
      await registry.getService('greeter');
      await capture.waitForLine(/^answer 255$/);
      await registry.deregister(service);
      // Probes, announcements, questions, the goodbye; those of the program itself have Linux's 1.
      const heard = (): string[] =>
        capture.lines.filter((line) => line.startsWith('multicast ') && line !== 'multicast 1');
      await eventually('all are heard', () => heard().length >= 8, patientMs);
      expect(new Set(heard())).toEqual(new Set(['multicast 255']));
      expect(new Set(capture.lines.filter((line) => line.startsWith('answer')))).toEqual(new Set(['answer 255']));
    } finally {
      await registry.close();
      await capture.kill('SIGKILL');
    }
  }, 60_000);
});

const veth = 'ip link add v0 type veth peer name v1 && ip addr add 10.99.0.1/24 dev v0 && ip link set v0 up';

describeWith(
  'MdnsRegistry in a network of its own',
  'unshare',
  missing('unshare -rn with veth', inNetwork(veth)),
  () => {
    it('warns once where multicast does not work, and names the variable to change', async () => {
      // Joining the group fails, as with an interface that has no multicast.
      const script = `echo 0 > /proc/sys/net/ipv4/igmp_max_memberships; exec "$0" "$@"`;
      const [command, ...args] = inNetwork(script);
      const program = [process.execPath, programOf('announce.mjs'), 'n1', '{}', '2500'];
      const child = startNode(args[0]!, { command, args: [...args.slice(1), ...program] });
      await child.waitForLine(/^closed$/, patientMs);
      const warnings = child.lines.filter((line) => line.startsWith('warned '));
      expect(warnings).toEqual([
        expect.stringMatching(/multicast DNS does not work at 127\.0\.0\.1: .*5353 .*TENON_MDNS_INTERFACE/),
      ]);
    }, 60_000);

    it('finds a node of another host at the address of their link, and uses an interface that comes later', async () => {
      // A second network in the first, at the other end of a cable that is plugged in after both have started.
      const node = (id: string): string => `"$0" ${programOf('announce.mjs')} ${id} '{}' 14000`;
      const script = [
        'ip link add v0 type veth peer name v1',
        `unshare -n sh -ec 'ip link set lo up; touch "$2"; until ip addr add 10.99.0.2/24 dev v1 2>/dev/null; do sleep 0.1; done; ip link set v1 up; exec ${node('far').replaceAll("'", "'\\''")}' "$0" x "$1" & far=$!`,
        `sleep 0.5; ip link set v1 netns $far`,
        `( sleep 3; ip addr add 10.99.0.1/24 dev v0; ip link set v0 up ) &`,
        node('near'),
      ]
        .join('; ')
        .replaceAll('& ;', '&')
        .replaceAll('&;', '&');
      const [command, ...args] = inNetwork(script);
      const child = startNode(args[0]!, { command, args: [...args.slice(1), process.execPath, '/dev/null'] });
      await child.waitForLine(/^closed$/, patientMs);
      expect(child.stderr).toBe('');
      expect(child.lines).toContain('found far@10.99.0.2:7000 near@127.0.0.1:7000');
      expect(child.lines).toContain('found far@127.0.0.1:7000 near@10.99.0.1:7000');
    }, 90_000);

    it('finds a node of another host by IPv6 where the link has nothing else, with its own zone', async () => {
      const node = (id: string): string => `"$0" ${programOf('announce.mjs')} ${id} '{}' 8000 '[::]:7000'`;
      const up = (name: string): string =>
        `echo 0 > /proc/sys/net/ipv6/conf/${name}/accept_dad; ip link set ${name} up`;
      const script = [
        'ip link add v0 type veth peer name v1',
        `unshare -n sh -ec 'ip link set lo up; until [ -e /proc/sys/net/ipv6/conf/v1 ]; do sleep 0.1; done; ${up('v1')}; exec ${node('far').replaceAll("'", "'\\''")}' "$0" & far=$!`,
        `sleep 0.5; ip link set v1 netns $far; ${up('v0')}`,
        node('near'),
      ]
        .join('; ')
        .replaceAll('& ;', '&')
        .replaceAll('&;', '&');
      const [command, ...args] = inNetwork(script);
      const child = startNode(args[0]!, { command, args: [...args.slice(1), process.execPath] });
      await child.waitForLine(/^closed$/, patientMs);
      expect([child.stderr, child.lines.filter((line) => line.startsWith('warned'))]).toEqual(['', []]);
      const found = child.lines.filter((line) => line.includes('far') && line.includes('near'));
      expect(found).toEqual(
        expect.arrayContaining([
          expect.stringMatching(/^found far@\[fe80::[\da-f:]+%v0\]:7000 near@127\.0\.0\.1:7000$/),
          expect.stringMatching(/^found far@127\.0\.0\.1:7000 near@\[fe80::[\da-f:]+%v1\]:7000$/),
        ]),
      );
    }, 90_000);
  },
);
