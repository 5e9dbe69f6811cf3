import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { backendRow } from '../../src/app/internal/backend-table.ts';
import { Registry, System } from '../../src/index.ts';
import { RedisRegistry } from '../../src/registry/redis.ts';
import { busyKey, stateKey } from '../../src/registry/registry.ts';
import { systemTimers } from '../../src/runtime/system.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { registriesWithServers } from '../service/support.ts';
import { startNode } from '../support/process.ts';
import { describeWithRedis, describeWithServers } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';
import { cli, type CliResult, inTemporaryFolder } from './support.ts';

const command = join(import.meta.dirname, '../../dist/cli/tenon.js');
const library = pathToFileURL(join(import.meta.dirname, '../../dist/index.js')).href;

const node = (id: string, metadata: Record<string, string> = {}) => ({ id, address: '10.0.0.7:50051', metadata });
const services = {
  services: [
    {
      name: 'orders',
      version: '2',
      nodes: [node('orders-a', { zone: 'eu' }), node('orders-b', { [busyKey]: 'true' })],
    },
    { name: 'orders', version: '1', nodes: [node('orders-c', { [stateKey]: 'draining', registry: 'file' })] },
    { name: 'greeter', version: '1.2.0', nodes: ['10.0.0.8:1'] },
  ],
};

/** Runs the command over a registry in a file. */
function overFile(
  use: (run: (...args: string[]) => Promise<CliResult>, file: string, env: Record<string, string>) => Promise<void>,
  content: string = JSON.stringify(services),
): Promise<void> {
  return inTemporaryFolder(async (folder) => {
    const file = join(folder, 'services.json');
    await writeFile(file, content);
    const env = { TENON_REGISTRY: 'file', TENON_REGISTRY_ADDRESS: file };
    await use((...args) => cli(args, { env, cwd: folder }), file, env);
  });
}

describe('tenon services', () => {
  it('lists services with their versions, nodes and states', () =>
    overFile(async (run) => {
      expect(await run('services')).toEqual({
        code: 0,
        stderr: '',
        stdout: [
          'SERVICE  VERSION  NODES  STATES',
          'greeter  1.2.0    1      1 serving',
          'orders   1        1      1 draining',
          'orders   2        2      1 serving, 1 busy',
          '',
        ].join('\n'),
      });
    }));

  it('lists the nodes of one service, with their metadata', () =>
    overFile(async (run) => {
      expect((await run('services', 'orders')).stdout).toBe(
        [
          'NODE      VERSION  ADDRESS         STATE     METADATA',
          'orders-c  1        10.0.0.7:50051  draining',
          'orders-a  2        10.0.0.7:50051  serving   zone=eu',
          'orders-b  2        10.0.0.7:50051  busy',
          '',
        ].join('\n'),
      );
    }));

  it('prints the records as JSON', () =>
    overFile(async (run) => {
      const all = JSON.parse((await run('services', '--json')).stdout) as { name: string }[];
      expect(all.map(({ name }) => name)).toEqual(['greeter', 'orders', 'orders']);
      const one = JSON.parse((await run('services', 'greeter', '--json')).stdout) as object[];
      expect(one).toMatchObject([{ name: 'greeter', version: '1.2.0', nodes: [{ address: '10.0.0.8:1' }] }]);
    }));

  it('exits with 1 for a service that has no node, and says so', () =>
    overFile(async (run) => {
      const said = 'tenon: no node of service "nobody" is known to the file registry\n';
      expect(await run('services', 'nobody')).toEqual({ code: 1, stdout: '', stderr: said });
      expect(await run('services', 'nobody', '--json')).toEqual({ code: 1, stdout: '[]\n', stderr: said });
    }));

  it('says that a registry is empty, and exits with 0', () =>
    overFile(async (run) => {
      const stderr = 'tenon: the file registry has no services\n';
      expect(await run('services')).toEqual({ code: 0, stdout: '', stderr });
      expect(await run('services', '--json')).toEqual({ code: 0, stdout: '[]\n', stderr: '' });
    }, '{"services":[]}'));

  it('lets nothing that others wrote act upon the terminal', () => {
    const evil = { name: 'evil', version: '\u001b[2J', nodes: [node('x', { zone: '\u202ecba' })] };
    return overFile(
      async (run) => {
        for (const args of [['services'], ['services', 'evil'], ['services', 'evil', '--json']]) {
          const { stdout } = await run(...args);
          // oxlint-disable-next-line no-control-regex
          expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
          expect(stdout).toMatch(/\\u001b/);
        }
      },
      JSON.stringify({ services: [evil] }),
    );
  });

  it('ends quietly when whoever reads its output has seen enough', () =>
    overFile(
      async (_run, _file, env) => {
        const child = startNode(command, { args: ['services', '--json'], env });
        child.closeOutput();
        expect(await child.waitForExit()).toEqual({ code: 0, signal: null });
      },
      JSON.stringify({
        services: Array.from({ length: 5_000 }, (_, at) => ({ name: `s${at}`, nodes: ['10.0.0.8:1'] })),
      }),
    ));

  it('lets nothing of an error act upon the terminal', () =>
    inTemporaryFolder(async (folder) => {
      const module = `
        import { Registry } from ${JSON.stringify(library)};
        class Evil {
          static capabilities = { expires: false, shared: true, watches: false, registers: false };
          options = {};
          async listServices() { throw new Error('said \\u001b[2J\\nand more'); }
          async close() {}
          toString() { return 'evil'; }
        }
        export const options = { profile: 'test', bind: (container) => container.rebind(Registry).toConstantValue(new Evil()) };`;
      await writeFile(join(folder, 'app.mjs'), module);
      const child = startNode(command, { args: ['services', '-m', 'app.mjs'], cwd: folder });
      expect((await child.exited).code).toBe(1);
      expect(child.stderr).toContain('said \\u001b[2J\nand more');
      expect(child.stderr).not.toContain('\u001b');
    }));

  it('refuses wrong arguments, a registry of one process, and a configuration that is wrong', async () => {
    expect((await cli(['services', 'a', 'b'])).code).toBe(2);
    expect(await cli(['services'], { env: { TENON_REGISTRY: 'memory' } })).toEqual({
      code: 2,
      stdout: '',
      stderr: 'tenon: the memory registry is that of one process: TENON_REGISTRY names one that others share\n',
    });
    const wrong = await cli(['services'], { env: { TENON_REGISTRY: 'zookeper' } });
    expect([wrong.code, wrong.stdout]).toEqual([1, '']);
    expect(wrong.stderr).toContain('TENON_REGISTRY is "zookeper"');
    expect((await cli(['services', '--module', 'nowhere.js'])).stderr).toContain('there is no file nowhere.js');
  });

  it('exits with 1 and the remedy when the registry is away', async () => {
    const { code, stdout, stderr } = await cli(['services'], { env: { TENON_REGISTRY: 'redis://127.0.0.1:1' } });
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^tenon: .*127\.0\.0\.1:1.*TENON_REGISTRY_ADDRESS/s);
  });

  it('looks into a registry that a module binds', () =>
    inTemporaryFolder(async (folder) => {
      const module = `
        import { Registry } from ${JSON.stringify(library)};
        const record = { name: 'own', version: '1', metadata: {}, endpoints: [], nodes: [] };
        record.nodes.push({ id: 'own-1', address: 'a:1', metadata: {} });
        class Own {
          static capabilities = { expires: false, shared: true, watches: false, registers: false };
          options = {};
          async getService() { return [record]; }
          async listServices() { return [{ ...record, nodes: [] }]; }
          async close() {}
          toString() { return 'own'; }
        }
        export const options = { profile: 'test', bind: (container) => container.rebind(Registry).toConstantValue(new Own()) };`;
      await writeFile(join(folder, 'app.mjs'), module);
      await writeFile(join(folder, 'empty.mjs'), 'export const nothing = 1;');
      const child = startNode(command, { args: ['services', '-m', 'app.mjs'], cwd: folder });
      expect((await child.exited).code).toBe(0);
      expect(child.lines).toEqual(['SERVICE  VERSION  NODES  STATES', 'own      1        1      1 serving']);
      const wrong = startNode(command, { args: ['services', '-m', 'empty.mjs'], cwd: folder });
      expect((await wrong.exited).code).toBe(2);
      expect(wrong.stderr).toContain('empty.mjs exports no options');
    }));
});

describe('tenon watch', () => {
  it('prints what is there, then each change, until it is interrupted', () =>
    overFile(async (_run, file, env) => {
      const child = startNode(command, { args: ['watch', 'orders'], env });
      const line = (what: string): Promise<unknown> => child.waitForLine(new RegExp(`^[-\\dT:.]+Z ${what}$`));
      await line('create orders 2 orders-b 10\\.0\\.0\\.7:50051 busy');
      await line('create orders 1 orders-c 10\\.0\\.0\\.7:50051 draining');
      await line('create orders 2 orders-a 10\\.0\\.0\\.7:50051 serving zone=eu');
      const changed = { name: 'orders', version: '2', nodes: [node('orders-a'), node('orders-b')] };
      await writeFile(file, JSON.stringify({ services: [changed, { name: 'other', nodes: ['10.0.0.9:1'] }] }));
      await line('update orders 2 orders-b 10\\.0\\.0\\.7:50051 serving');
      await line('update orders 2 orders-a 10\\.0\\.0\\.7:50051 serving');
      await line('delete orders 1 orders-c 10\\.0\\.0\\.7:50051');
      expect(child.lines).toHaveLength(6);
      child.signal('SIGINT');
      expect(await child.waitForExit()).toEqual({ code: 0, signal: null });
      expect(child.stderr).toBe('');
    }));

  it('prints lines of JSON', () =>
    overFile(async (_run, _file, env) => {
      const child = startNode(command, { args: ['watch', 'greeter', '--json'], env });
      const [text] = await child.waitForLine(/^\{.*\}$/);
      expect(JSON.parse(text)).toMatchObject({ action: 'create', service: { name: 'greeter', version: '1.2.0' } });
      await child.kill('SIGTERM');
      expect(child.exit?.code).toBe(0);
    }));

  it('ends when nobody reads its output any more', () =>
    overFile(async (_run, file, env) => {
      const child = startNode(command, { args: ['watch', '--json'], env });
      await child.waitForLine(/"create"/);
      child.closeOutput();
      for (let version = 0; child.exit === undefined && version < 100; version += 1) {
        await writeFile(file, JSON.stringify({ services: [{ name: 'orders', version, nodes: ['10.0.0.8:1'] }] }));
        await systemTimers.sleep(100);
      }
      expect((await child.waitForExit()).code).toBe(0);
    }));

  it('fails at once where the registry is away at the start', async () => {
    const { code, stderr } = await cli(['watch'], { env: { TENON_REGISTRY: 'redis://127.0.0.1:1' } });
    expect(code).toBe(1);
    expect(stderr).toContain('127.0.0.1:1');
  });
});

describeWithRedis(
  'tenon watch, of a Redis that goes away',
  (redis) => {
    it('says so, and prints what changed meanwhile when it is back', async () => {
      const registry = new RedisRegistry({ address: redis.address });
      const stays = serviceOf('greeter', [nodeOf('stays')]);
      const leaves = serviceOf('greeter', [nodeOf('leaves')]);
      await registry.register(stays, { ttlMs: 300_000 });
      await registry.register(leaves, { ttlMs: 300_000 });
      const env = { TENON_REGISTRY: `redis://${redis.address}` };
      const child = startNode(command, { args: ['watch', 'greeter'], env });
      await child.waitForLine(/ create greeter .* leaves /, 30_000);
      await redis.kill();
      await child.waitForLog(/trying again/, 30_000);
      await redis.start();
      await eventually(
        'a node has left',
        () =>
          registry.deregister(leaves).then(
            () => true,
            () => false,
          ),
        30_000,
      );
      await registry.register(serviceOf('greeter', [nodeOf('comes')]), { ttlMs: 300_000 });
      await child.waitForLine(/ delete greeter .* leaves /, 60_000);
      await child.waitForLine(/ create greeter .* comes /, 60_000);
      expect(child.lines.filter((line) => line.includes(' stays '))).toHaveLength(1);
      await child.kill('SIGKILL');
      await registry.close();
    }, 180_000);
  },
  { persistent: true },
);

describe.each(registriesWithServers())('tenon services and tenon watch, of the registry %s', (name) => {
  const server = backendRow('registry', name)?.server ?? '';
  describeWithServers('on a real server', [server], (addressOf, envOf) => {
    it('list what services have registered, and follow what they change', async () => {
      const env = {
        TENON_REGISTRY: `${name}://${addressOf(server)}`,
        ...envOf(server),
        TENON_LOG_LEVEL: 'silent',
      };
      const system = await System.start([], { profile: 'dev', env });
      const registry = system.get(Registry);
      const child = startNode(command, { args: ['watch'], env });
      try {
        const greeter = serviceOf('greeter', [nodeOf('greeter-1', { metadata: { zone: 'eu' } })]);
        await registry.register(greeter, { ttlMs: 60_000 });
        const { code, stdout } = await cli(['services', 'greeter'], { env });
        expect(code).toBe(0);
        expect(stdout).toMatch(/^NODE.*\ngreeter-1 .* serving {2,}.*zone=eu/);
        expect((await cli(['services'], { env })).stdout).toMatch(/\ngreeter .* 1 serving\n/);
        await child.waitForLine(/ create greeter .* greeter-1 /, 30_000);
        await registry.deregister(greeter);
        await child.waitForLine(/ delete greeter .* greeter-1 /, 30_000);
        await eventually('it is gone', async () => (await cli(['services', 'greeter'], { env })).code === 1, 30_000);
        child.signal('SIGINT');
        expect((await child.waitForExit()).code).toBe(0);
      } finally {
        await child.kill('SIGKILL');
        await system.stop();
      }
    }, 120_000);
  });
});
