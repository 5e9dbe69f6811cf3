import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { backendRow } from '../../src/app/internal/backend-table.ts';
import { type ClientOf, Handler, Registry, Rpc, Service, System } from '../../src/index.ts';
import { ApiProxy, KubernetesServer } from '../registry/kubernetes-support.ts';
import { idsOf } from '../registry/support.ts';
import { TestProcess } from '../support/process.ts';
import { BackendServer, describeWithServer, registryEnv } from '../support/servers.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';
import { eventually } from '../support/waiting.ts';

const proto = fileURLToPath(new URL('./go-micro/greeter.proto', import.meta.url));

@Handler('tenon.gomicro.Greeter', {
  proto,
  service: 'go.micro.srv.greeter',
  unimplemented: ['Echo', 'Meta', 'Fail', 'Slow', 'Count', 'Chat'],
})
class GreeterHandler {
  @Rpc() async hello(request: { name: string }): Promise<{ msg: string }> {
    return { msg: `Hello ${request.name} of tenon` };
  }
}

/** Tenon's own: the name in the registry is another than that of Go's service. */
@Service({ name: 'tenon.srv.greeter', version: '1.2.0', handlers: [GreeterHandler], dialect: 'go-micro' })
class Greeter {}

interface Answer {
  readonly command?: string;
  readonly names?: readonly string[];
  readonly services?: readonly GoService[];
  readonly reply?: string;
  readonly error?: string;
  readonly event?: string;
  readonly service?: string;
  readonly node?: string;
}

interface GoService {
  readonly name: string;
  readonly version: string;
  readonly endpoints: readonly { readonly name: string }[];
  readonly nodes: readonly { readonly id: string; readonly address: string; readonly metadata: object }[];
}

/** Where both find each other. */
class Fleet {
  readonly server: BackendServer;
  readonly programs: readonly string[] = ['go-micro-v5', 'go-micro-v4'];

  constructor(server: BackendServer) {
    this.server = server;
  }

  /** The address of the registry for Go Micro. */
  get address(): string {
    return this.server.address;
  }

  /** The name of the registry in the programs of Go Micro. */
  get goName(): string {
    return this.server.name;
  }

  /** Variables of tenon beside the address. */
  get env(): Readonly<Record<string, string>> {
    return {};
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  /** Has Go Micro's watchers told of what it did not tell by itself. */
  async stir(): Promise<void> {}
}

/** Go's proxy does not have the plugin for NATS of version 4: its subjects are used by version 5. */
class NatsFleet extends Fleet {
  override readonly programs = ['go-micro-v5'];
  readonly #goName: string;

  constructor(goName: string) {
    super(new BackendServer('nats'));
    this.#goName = goName;
  }

  override get goName(): string {
    return this.#goName;
  }
}

/** Two pods, and an API server as `kubectl proxy` shows it: Go Micro takes no token outside of a pod. */
class KubernetesFleet extends Fleet {
  // Go Micro 5 itself has no registry of Kubernetes.
  override readonly programs = ['go-micro-v4'];
  readonly #cluster: KubernetesServer;
  readonly #proxy: ApiProxy;

  constructor(cluster: KubernetesServer) {
    super(cluster);
    this.#cluster = cluster;
    this.#proxy = new ApiProxy(cluster);
  }

  override get address(): string {
    return this.#proxy.address;
  }

  override get env(): Readonly<Record<string, string>> {
    const own = { TENON_KUBERNETES_DIALECT: 'go-micro', TENON_KUBERNETES_POD_NAME: 'tenon-pod' };
    return { ...registryEnv(this.#cluster), ...own };
  }

  override async start(): Promise<void> {
    await this.#proxy.start();
    for (const name of ['tenon-pod', 'go-pod']) {
      const spec = { containers: [{ name: 'main', image: 'none' }] };
      await this.#cluster.ask('POST', '/api/v1/namespaces/default/pods', { metadata: { name }, spec });
      await this.#patch(`${name}/status`, { status: { phase: 'Running' } });
    }
  }

  override async stop(): Promise<void> {
    await this.#proxy.stop();
  }

  /** As the kubelet changes a pod: Go Micro's watcher passes over the first sight of one. */
  override async stir(): Promise<void> {
    await this.#patch('tenon-pod', { metadata: { annotations: { stirred: String(Math.random()) } } });
  }

  async #patch(path: string, body: object): Promise<void> {
    await this.#cluster.done('PATCH', `/api/v1/namespaces/default/pods/${path}`, body, 'application/merge-patch+json');
  }
}

const fleets: readonly Fleet[] = [
  ...['etcd', 'consul']
    .filter((name) => backendRow('registry', name) !== undefined)
    .map((name) => new Fleet(new BackendServer(name))),
  new NatsFleet('nats'),
  new NatsFleet('nats-as-v4'),
  new KubernetesFleet(new KubernetesServer()),
];

describe.each(fleets.map((fleet) => [fleet.goName, fleet] as const))('a fleet in the %s registry', (goName, fleet) => {
  const { name } = fleet.server;
  describeWithServer('on a real server', fleet.server, (server) => {
    describe.each(fleet.programs)('%s', (program) => {
      describeWithTools('in one fleet with tenon', [program], () => {
        let system: System;
        let goServer: TestProcess;
        let goAddress: string;
        let looking: TestProcess;

        const answers = (): Answer[] => looking.lines.filter((line) => line.startsWith('{')).map(parsed);
        async function ask(command: string): Promise<Answer> {
          const from = looking.lines.length;
          looking.writeLine(command);
          const [line] = await looking.waitForLine(/^\{.*"command":.*/, 30_000, from);
          return parsed(line);
        }

        beforeAll(async () => {
          await fleet.start();
          looking = new TestProcess(toolPath(program), ['look-in', goName, fleet.address, 'tenon.srv.greeter'], {
            withInput: true,
          });
          await looking.waitForLine(/^ready$/);
          system = await System.start([Greeter], {
            profile: 'dev',
            env: {
              TENON_REGISTRY: name,
              TENON_REGISTRY_ADDRESS: server.address,
              TENON_CLIENT_DIALECT: 'go-micro',
              TENON_LOG_LEVEL: 'silent',
              TENON_LAME_DUCK_MS: '0',
              ...fleet.env,
            },
          });
          goServer = new TestProcess(toolPath(program), ['serve-in', goName, fleet.address], {
            env: { HOSTNAME: 'go-pod' },
          });
          [, goAddress = ''] = await goServer.waitForLine(/^listening (\S+)$/);
        }, 60_000);

        afterAll(async () => {
          await system.stop();
          await Promise.all([goServer.kill(), looking.kill()]);
          await fleet.stop();
        });

        it("lists and finds tenon's service, with its version, its endpoints and its metadata", async () => {
          // Over NATS Go Micro waits a tenth of a second for the answers of all processes.
          await eventually('both are listed', async () => {
            const { names = [] } = await ask('list');
            return names.includes('tenon.srv.greeter') && names.includes('go.micro.srv.greeter');
          });
          const { services = [] } = await ask('get tenon.srv.greeter');
          const [own] = await system.get(Registry).getService('tenon.srv.greeter');
          expect(services).toHaveLength(1);
          expect(services[0]).toMatchObject({ name: 'tenon.srv.greeter', version: '1.2.0' });
          expect(services[0]?.endpoints.map((endpoint) => endpoint.name)).toContain('Greeter.Hello');
          expect(services[0]?.nodes).toEqual([
            expect.objectContaining({
              id: own?.nodes[0]?.id,
              address: own?.nodes[0]?.address,
              metadata: expect.objectContaining({ protocol: 'grpc', server: 'grpc', registry: name }),
            }),
          ]);
        });

        it('calls it', async () => {
          expect(await ask('call tenon.srv.greeter')).toEqual({
            command: 'call tenon.srv.greeter',
            reply: 'Hello John of tenon',
          });
        });

        it("is found by tenon, with its version, its endpoints and its metadata, and tenon's client calls it", async () => {
          const registry = system.get(Registry);
          await eventually(
            'Go Micro has registered',
            async () => (await idsOf(registry, 'go.micro.srv.greeter')).length === 1,
          );
          const [found] = await registry.getService('go.micro.srv.greeter');
          expect(found).toMatchObject({
            version: '2.1.0',
            nodes: [{ address: goAddress, metadata: { zone: 'a', protocol: 'grpc' } }],
          });
          expect(found?.endpoints.map((endpoint) => endpoint.name)).toContain('Greeter.Hello');
          const greeter: ClientOf<GreeterHandler> = system.client(GreeterHandler);
          expect(await greeter.hello({ name: 'John' })).toEqual({ msg: 'Hello John' });
        });

        it('sees tenon come and go, and tenon sees it go', async () => {
          const [own] = await idsOf(system.get(Registry), 'tenon.srv.greeter');
          const saw = (action: string): boolean =>
            answers().some(
              ({ event, node }) => node === own && (event === action || (action === 'create' && event === 'update')),
            );
          const sawCreate = async (): Promise<boolean> => {
            await fleet.stir();
            return saw('create');
          };
          await eventually('it has seen tenon register', sawCreate, 20_000);
          await goServer.kill('SIGTERM');
          await eventually(
            'tenon has seen it deregister',
            async () => (await idsOf(system.get(Registry), 'go.micro.srv.greeter')).length === 0,
            20_000,
          );
          await system.stop();
          await eventually('it has seen tenon deregister', () => saw('delete'), 20_000);
        });
      });
    });
  });
});

function parsed(line: string): Answer {
  return JSON.parse(line) as Answer;
}
