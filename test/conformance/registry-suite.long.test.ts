import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { registryReadOnly } from '../../src/registry/kit/errors.ts';
import { MemoryRegistry, MemoryRegistryStore } from '../../src/registry/memory.ts';
import type { Registry, RegistryCapabilities, ServiceRecord, Watcher } from '../../src/registry/registry.ts';
import type { RegistryHarness } from '../../src/testing/internal/registry-fixture.ts';
import { registryCasesFor } from '../../src/testing/registry.ts';
import { failing, saneLimitMs } from './support.ts';

/** The networks of registries. */
const stores = new WeakMap<Registry, MemoryRegistryStore>();

/** Registries of one network, each seen through `change`. */
function harnessOf(
  change: (inner: Registry) => Partial<Registry> = () => ({}),
  shared?: MemoryRegistryStore,
): () => RegistryHarness {
  return () => {
    const store = shared ?? new MemoryRegistryStore();
    return {
      make: () => {
        const inner = new MemoryRegistry({ store });
        stores.set(inner, store);
        const changed = change(inner) as Record<string | symbol, unknown>;
        return new Proxy<Registry>(inner, {
          get: (target, name) => {
            const value: unknown = name in changed ? changed[name] : Reflect.get(target, name, target);
            return typeof value === 'function' ? value.bind(target) : value;
          },
        });
      },
      capabilities: MemoryRegistry.capabilities,
      seesOthers: true,
      guardsNodes: true,
      settleMs: 300,
      shortTtlMs: 60,
    };
  };
}

/** Registries that only find, as over DNS: what there is is seeded, and poor. */
function readOnlyHarness(change: (inner: Registry) => Partial<Registry> = () => ({})): () => RegistryHarness {
  return () => {
    const store = new MemoryRegistryStore();
    const writer = new MemoryRegistry({ store });
    const keeps = { metadata: false, serviceMetadata: false, endpoints: false, versions: false };
    const capabilities = { ...MemoryRegistry.capabilities, registers: false, keeps };
    const poor = (service: ServiceRecord): ServiceRecord => ({
      ...service,
      version: '',
      metadata: {},
      endpoints: [],
      nodes: service.nodes.map((node) => ({ ...node, metadata: {} })),
    });
    const refuse = (what: string) => () => Promise.reject(registryReadOnly('suite', what));
    const late = <T>(work: Promise<T>): Promise<T> => new Promise((resolve) => setTimeout(() => resolve(work), 20));
    const readOnly = harnessOf(
      (inner) => ({
        capabilities,
        // Those of one that has been closed, or of a caller who gave up, come first.
        register: async (_service, options) =>
          (await inner.getService('', options).catch(closedOr(refuse('register')))) as never,
        deregister: async (_service, options) =>
          (await inner.getService('', options).catch(closedOr(refuse('deregister')))) as never,
        ...change(inner),
      }),
      store,
    );
    return {
      ...readOnly(),
      capabilities,
      settleMs: 1_000,
      seed: (service) => late(writer.register(poor(service), { ttlMs: 60_000 })),
      unseed: (service) => late(writer.deregister(service)),
    };
  };
}

/** What a call ends with that found nothing. */
function closedOr(otherwise: () => Promise<never>): (error: unknown) => Promise<never> {
  return (error) => (TenonError.from(error).code === Code.NotFound ? otherwise() : Promise.reject(error));
}

/** The watcher without, or with other, events. */
function watching(watcher: Watcher, see: (watcher: Watcher) => AsyncIterator<never>): Watcher {
  return { stop: () => watcher.stop(), [Symbol.asyncIterator]: () => see(watcher) };
}

const mapped = (records: readonly ServiceRecord[], change: (record: ServiceRecord) => object): ServiceRecord[] =>
  records.map((record) => ({ ...record, ...change(record) }));

const run = (harness: () => RegistryHarness, limitMs?: number): Promise<string[]> =>
  failing(registryCasesFor(harness()), harness, limitMs);

describe('the suite of registries', () => {
  it('finds nothing in those that keep their promises', async () => {
    expect(await run(harnessOf(), saneLimitMs)).toEqual([]);
    const cached = (): RegistryHarness => ({
      make: () => new CachedRegistry(new MemoryRegistry()),
      capabilities: MemoryRegistry.capabilities,
    });
    expect(await run(cached, saneLimitMs)).toEqual([]);
  }, 60_000);

  it.each<[string, (inner: Registry) => Partial<Registry>, string[]]>([
    [
      'one that forgets the endpoints',
      (inner) => ({
        getService: async (name, options) => mapped(await inner.getService(name, options), () => ({ endpoints: [] })),
      }),
      ['a registered service is found with its whole record'],
    ],
    [
      'one that knows nothing with an empty list',
      (inner) => ({
        getService: (name, options) =>
          inner.getService(name, options).catch((error) => (error.code === 5 ? [] : Promise.reject(error))),
      }),
      [
        'a service that is not registered is NOT_FOUND, and the message names it',
        'deregister removes a node and leaves the others',
        'another registry finds what one registers',
      ],
    ],
    [
      'one that does not tell versions apart',
      (inner) => ({ register: (service, options) => inner.register({ ...service, version: '1.0.0' }, options) }),
      ['several nodes and versions are grouped by version'],
    ],
    [
      'one that keeps the first record of a node',
      (inner) => {
        const first = new Map<string, ServiceRecord>();
        return {
          register: async (service, options) => {
            const id = service.nodes[0]?.id ?? '';
            if (!first.has(id)) first.set(id, structuredClone(service));
            await inner.register(first.get(id) ?? service, options);
          },
          deregister: async (service, options) => {
            for (const { id } of service.nodes) first.delete(id);
            await inner.deregister(service, options);
          },
        };
      },
      [
        'registering a node again replaces its record',
        'a watcher sees a node come, change and go',
        'a watcher sees a node begin to drain',
        'changes are reported in order, the current state last',
      ],
    ],
    [
      'one that takes back the whole service',
      (inner) => ({
        deregister: async (service, options) => {
          const all = await inner.getService(service.name).catch(() => []);
          for (const record of all) await inner.deregister(record, options);
          await inner.deregister(service, options);
        },
      }),
      [
        'deregister removes a node and leaves the others',
        'a record with several nodes registers and deregisters all of them',
        'a node id that two registries use is one node, which the end of one leaves',
        'calls for one node take effect in the order in which they are made',
      ],
    ],
    [
      'one that announces only the first node of a record',
      (inner) => ({
        register: (service, options) => inner.register({ ...service, nodes: service.nodes.slice(0, 1) }, options),
      }),
      ['a record with several nodes registers and deregisters all of them'],
    ],
    [
      'one that refuses to take back what is not there',
      (inner) => ({
        deregister: async (service, options) => {
          await inner.listServices(options);
          await inner.getService(service.name);
          await inner.deregister(service, options);
        },
      }),
      [
        'deregister of an unknown node is no error',
        'calls for one node take effect in the order in which they are made',
      ],
    ],
    [
      'one that takes any record',
      (inner) => ({
        register: async (service, options) => {
          await inner.listServices(options);
          if (service.name !== '' && service.nodes.length > 0) await inner.register(service, options);
        },
      }),
      [
        'a record without name or nodes is refused',
        'calls for one node take effect in the order in which they are made',
      ],
    ],
    [
      'one that lists what it ever heard of',
      (inner) => {
        const names = new Set<string>();
        return {
          register: (service, options) => inner.register(service, options).finally(() => names.add(service.name)),
          listServices: async (options) => [
            ...(await inner.listServices(options)),
            ...[...names].map((name) => ({ name, version: '', metadata: {}, endpoints: [], nodes: [] })),
          ],
        };
      },
      ['listServices returns all services that have nodes'],
    ],
    [
      'one that knows names by their first part',
      (inner) => {
        const short = (name: string): string => name.replace(/[/:*? ].*$/, '');
        return {
          register: (service, options) => inner.register({ ...service, name: short(service.name) }, options),
          getService: async (name, options) => mapped(await inner.getService(short(name), options), () => ({ name })),
        };
      },
      [
        'names with dots and other letters are kept apart',
        'a name and an id of any text are registered, found, watched and removed, or refused',
      ],
    ],
    [
      'one in which a process removes what another has registered since',
      (inner) => ({
        deregister: async (service, options) => {
          await inner.deregister(service, options);
          const store = stores.get(inner);
          // Who has registered nothing may remove anything.
          if (store) await new MemoryRegistry({ store }).deregister(service, options);
        },
      }),
      [
        'a node id that two registries use is one node, which the end of one leaves',
        'calls for one node take effect in the order in which they are made',
      ],
    ],
    [
      'one in which two processes take a node from each other',
      (inner) => ({
        register: async (service, options) => {
          const store = stores.get(inner);
          if (store && service.nodes.length === 1) await new MemoryRegistry({ store }).register(service, options);
          await inner.register(service, options);
        },
      }),
      [
        'a node id that two registries use is one node, which the end of one leaves',
        'calls for one node take effect in the order in which they are made',
      ],
    ],
    [
      'one whose registrations take longer than their removal',
      (inner) => ({
        register: async (service, options) => {
          const isSlow = service.nodes.length === 1 && service.version === '1.0.0';
          if (isSlow) await new Promise((resolve) => setTimeout(resolve, 1));
          await inner.register(service, options);
        },
      }),
      ['calls for one node take effect in the order in which they are made'],
    ],
    [
      'one that loses the blanks at the ends of texts',
      (inner) => ({
        register: (service, options) => {
          const trimmed = (texts: Readonly<Record<string, string>>): Record<string, string> =>
            Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, text.trim()]));
          const nodes = service.nodes.map((node) => ({ ...node, metadata: trimmed(node.metadata) }));
          return inner.register({ ...service, nodes }, options);
        },
      }),
      ['metadata of any text is found as it was registered'],
    ],
    [
      'one that takes dots at the begin of names for its own',
      (inner) => ({
        getService: (name, options) => inner.getService(name.startsWith('.') ? `${name}?` : name, options),
      }),
      ['a name and an id of any text are registered, found, watched and removed, or refused'],
    ],
    [
      'one whose leases never lapse',
      (inner) => ({ register: (service, options) => inner.register(service, { ...options, ttlMs: 600_000 }) }),
      ['a lease ends unless it is renewed', 'a watcher sees a node whose lease ends'],
    ],
    [
      'one that does not renew a lease',
      (inner) => {
        const texts = new Set<string>();
        return {
          register: async (service, options) => {
            const text = JSON.stringify(service);
            if (texts.has(text)) return;
            await inner.register(service, options);
            texts.add(text);
          },
        };
      },
      ['a lease ends unless it is renewed', 'calls for one node take effect in the order in which they are made'],
    ],
    [
      'one whose watchers see everything',
      (inner) => ({ watch: ({ signal } = {}) => inner.watch({ signal }) }),
      [
        'a watcher of one service sees no other',
        'a name and an id of any text are registered, found, watched and removed, or refused',
      ],
    ],
    [
      'one whose watchers see nothing go',
      (inner) => ({
        watch: async (options) =>
          watching(await inner.watch(options), async function* (watcher) {
            for await (const event of watcher) if (event.action !== 'delete') yield event as never;
          }),
      }),
      [
        'a watcher sees a node come, change and go',
        'a watcher sees what another registry announces',
        'a watcher sees a node whose lease ends',
        'the reported changes add up to the nodes that are found',
        'a name and an id of any text are registered, found, watched and removed, or refused',
      ],
    ],
    [
      'one whose watchers miss a change now and then',
      (inner) => ({
        watch: async (options) =>
          watching(await inner.watch(options), async function* (watcher) {
            let count = 0;
            for await (const event of watcher) if ((count += 1) % 7 !== 0) yield event as never;
          }),
      }),
      ['the reported changes add up to the nodes that are found'],
    ],
    [
      'one that says of itself what it cannot do',
      () => ({ capabilities: { ...MemoryRegistry.capabilities, shared: true } }),
      ['an instance has the capabilities that it is tested with, if it has the property'],
    ],
    [
      'one whose watchers are told of what is there',
      (inner) => ({
        watch: async (options) => {
          const before = options?.service === undefined ? [] : await inner.getService(options.service).catch(() => []);
          return watching(await inner.watch(options), async function* (watcher) {
            for (const service of before) yield { action: 'create', service } as never;
            for await (const event of watcher) yield event as never;
          });
        },
      }),
      [
        'a watcher reports neither nodes that existed before nor renewals',
        'a node id that two registries use is one node, which the end of one leaves',
      ],
    ],
    [
      'one whose watchers see the newest change first',
      (inner) => ({
        watch: async (options) =>
          watching(await inner.watch(options), async function* (watcher) {
            let held: unknown;
            for await (const event of watcher) {
              const isFirst = held === undefined && event.service.nodes[0]?.metadata['round'] !== undefined;
              if (isFirst) held = event;
              else {
                yield event as never;
                if (held !== undefined) yield held as never;
                held = undefined;
              }
            }
          }),
      }),
      ['changes are reported in order, the current state last'],
    ],
    [
      'one whose watchers cannot be stopped',
      (inner) => ({
        watch: async ({ service } = {}) => ({
          ...watching(await inner.watch({ service }), (watcher) => watcher[Symbol.asyncIterator]() as never),
          stop: () => {},
        }),
      }),
      ['stop and an abort of the signal end the iteration of a watcher'],
    ],
    [
      'one that does not look at signals',
      (inner) => ({
        getService: (name) => inner.getService(name),
        register: (service, { ttlMs } = {}) => inner.register(service, { ttlMs }),
      }),
      ['a call whose signal has aborted is CANCELLED'],
    ],
    [
      'one that takes options at any time',
      () => {
        let options = {};
        return {
          init: (given) => void (options = { ...options, ...given }),
          get options() {
            return options;
          },
        };
      },
      ['init changes options until the first call', 'TLS and credentials that a registry does not take are an error'],
    ],
    [
      'one that goes on after its end',
      () => ({ close: async () => {} }),
      ['close ends watchers and makes later calls fail'],
    ],
    [
      'one that hands out what it was given',
      (inner) => {
        const given = new Map<string, ServiceRecord>();
        return {
          register: async (service, options) => {
            await inner.register(service, options);
            if (service.nodes.length === 1) given.set(service.nodes[0]?.id ?? '', service);
          },
          getService: async (name, options) =>
            mapped(await inner.getService(name, options), ({ nodes }) => ({
              nodes: nodes.map((node) => given.get(node.id)?.nodes[0] ?? node),
            })),
        };
      },
      ['changes of a record object after register are not visible'],
    ],
    [
      'one that tells nobody',
      () => {
        const own = new MemoryRegistry();
        const names = ['register', 'deregister', 'getService', 'listServices', 'watch', 'close', 'init'] as const;
        const methods = Object.fromEntries(names.map((name) => [name, own[name].bind(own)]));
        return Object.defineProperty(methods, 'options', { get: () => own.options });
      },
      [
        'another registry finds what one registers',
        'a watcher sees what another registry announces',
        'a registered service is found with its whole record',
        'listServices returns services that the registry was never asked for',
        'a node id that two registries use is one node, which the end of one leaves',
      ],
    ],
  ])(
    'catches %s',
    async (_what, change, expected) => {
      expect((await run(harnessOf(change))).sort()).toEqual([...expected].sort());
    },
    60_000,
  );

  it('finds nothing in one that only finds, knows no metadata, endpoints or versions, and tells late', async () => {
    expect(await run(readOnlyHarness(), saneLimitMs)).toEqual([]);
  }, 60_000);

  it('catches one that only finds, and pretends to register', async () => {
    const pretending = readOnlyHarness(() => ({ register: async () => {}, deregister: async () => {} }));
    expect(await run(pretending)).toEqual([
      'a registry without the capability refuses register and deregister',
      'a call whose signal has aborted is CANCELLED',
      'close ends watchers and makes later calls fail',
    ]);
  }, 60_000);

  it('catches one that only finds, and takes what cannot be found for an empty list', async () => {
    const empty = readOnlyHarness((inner) => ({
      getService: (name, options) =>
        inner.getService(name, options).catch((error) => (error.code === 5 ? [] : Promise.reject(error))),
    }));
    expect(await run(empty)).toEqual([
      'a service that is not registered is NOT_FOUND, and the message names it',
      'deregister removes a node and leaves the others',
      'another registry finds what one registers',
    ]);
  }, 60_000);

  it.each<[string, (ttlMs: number) => number, string[]]>([
    ['finds nothing in one that keeps leases in steps', (ttlMs) => Math.ceil(ttlMs / 200) * 200, []],
    [
      'catches one that cuts leases to its steps',
      (ttlMs) => Math.floor(ttlMs / 200) * 200,
      ['a lease is not shortened by rounding'],
    ],
  ])(
    '%s',
    async (_what, rounded, expected) => {
      const capabilities = { ...MemoryRegistry.capabilities, ttlGranularityMs: 200 };
      const steps = harnessOf((inner) => ({
        capabilities,
        register: (service, options) => inner.register(service, { ...options, ttlMs: rounded(options?.ttlMs ?? 0) }),
      }));
      expect(await run(() => ({ ...steps(), capabilities }), saneLimitMs)).toEqual(expected);
    },
    60_000,
  );

  it.each<[string, boolean, string[]]>([
    ['finds nothing in one that has a largest record', true, []],
    [
      'catches one that takes records that it cannot keep',
      false,
      ['a record over the size limit is refused, and one below it is found'],
    ],
  ])(
    '%s',
    async (_what, isBounded, expected) => {
      const limited = harnessOf((inner) => ({
        register: async (service, options) => {
          const isLarge = JSON.stringify(service).length > 2_048;
          if (isLarge && isBounded) await inner.register({ ...service, name: '' }, options);
          await inner.register(service, options);
        },
      }));
      expect(await run(() => ({ ...limited(), maxRecordBytes: 4_096 }), saneLimitMs)).toEqual(expected);
    },
    60_000,
  );

  it('asks nothing of a registry that its capabilities do not say', () => {
    const names = (capabilities: Partial<RegistryCapabilities>): string[] => {
      const harness = { ...harnessOf()(), capabilities: { ...MemoryRegistry.capabilities, ...capabilities } };
      return registryCasesFor(harness).map(({ name }) => name);
    };
    expect(names({ registers: false }).filter((name) => /lease|announcements at once|refused/.test(name))).toEqual([]);
    expect(names({ watches: false }).filter((name) => /watcher (?:sees|is|of)/.test(name))).toEqual([]);
    expect(names({ keeps: { metadata: false } }).filter((name) => /drain|replaces/.test(name))).toEqual([]);
    expect(names({ keeps: { versions: false } }).filter((name) => /versions/.test(name))).toEqual([]);
    expect(names({ expires: false }).filter((name) => /lease/.test(name))).toEqual([]);
  });
});
