import { afterEach, describe, expect, it } from '@jest/globals';
import { type Container, ContainerModule } from 'inversify';

import { misspeltVariables } from '../../src/app/internal/misspelt-variables.ts';
import { verify } from '../../src/app/verify.ts';
import { type AppOptions, Logger, Registry, Selector, Service, System } from '../../src/index.ts';
import type { BackendNote } from '../../src/internal/backend-note.ts';
import { libraryFor } from '../../src/kafka/library.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelectorOptions } from '../../src/selector/round-robin.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { greeter, GreeterHandler, refusalOf } from './verify-support.ts';

let system: System | undefined;
afterEach(async () => {
  await system?.stop();
  system = undefined;
});

/** A logger that knows which lines say what to do, as notes do. */
class NotesLogger extends RecordingLogger {
  get notes(): string[] {
    return this.lines.flatMap(({ level, fields }) => (fields['fix'] ? [`${level} ${String(fields['kind'])}`] : []));
  }
}

@Service({ name: 'other', handlers: [GreeterHandler] })
class Other {}

describe('the notes of verify', () => {
  const modules = [
    new ContainerModule(({ bind }) => {
      bind(Selector).to(RandomSelector).inSingletonScope();
      bind(RoundRobinSelectorOptions).toConstantValue({});
    }),
  ];
  const env = { TENNON_SELECTOR: 'random', TENON_SELECTOR: 'round-robin', TENON_MDNS_PORT: '5354' };
  const expected = [
    'warn misspelt-variable',
    'info unused-options',
    'warn unused-variable',
    'warn unused-variable',
    'info unexpected-service-name',
  ];

  it('are logged once each at the start, as warnings if a setting has no effect', async () => {
    const logger = new NotesLogger();
    const options: AppOptions = {
      profile: 'test',
      env,
      modules,
      bind: (container) => void container.rebind(Logger).toConstantValue(logger),
    };
    const { ok, notes } = await verify([Other], options);
    expect([ok, notes.map(({ level, kind }) => `${level} ${kind}`)]).toEqual([true, expected]);
    system = await System.start([Other], options);
    await system.client(GreeterHandler).hello({ name: 'Ada' });
    expect(logger.notes).toEqual(expected);
    expect(logger.lines.filter(({ message }) => notes.some((note) => note.message === message))).toHaveLength(5);
  });

  it('do not mention variables that are not set', async () => {
    const { notes } = await verify([greeter], { profile: 'test', env: {}, modules: modules.slice(0, 0) });
    expect(notes).toEqual([]);
    const bind = (container: Container): void => void container.rebind(Selector).to(RandomSelector).inSingletonScope();
    expect((await verify([greeter], { profile: 'test', env: {}, bind })).notes).toEqual([]);
  });

  it('do not mention an address variable if code binds the registry, as it may read it', async () => {
    const set = { TENON_REGISTRY_ADDRESS: '/srv/registry' };
    const own = (container: Container): void => void container.rebind(Registry).to(MemoryRegistry).inSingletonScope();
    expect((await verify([greeter], { profile: 'test', env: set, bind: own })).notes).toEqual([]);
    const { notes } = await verify([greeter], { profile: 'test', env: set });
    expect(notes.map(({ kind, where }) => [kind, where])).toEqual([['unused-variable', 'TENON_REGISTRY_ADDRESS']]);
  });

  it('are logged by a logger that is made asynchronously', async () => {
    const logger = new NotesLogger();
    const bind = (container: Container): void => {
      container.rebind(Logger).toDynamicValue(async () => logger);
    };
    system = await System.start([], { profile: 'test', env, bind });
    expect(logger.notes).toEqual(['warn misspelt-variable', 'warn unused-variable']);
  });

  it('have what a backend says of itself, at the level that it says', async () => {
    class NotedRegistry extends MemoryRegistry {
      constructor() {
        super();
      }

      static notes(): readonly BackendNote[] {
        return [
          { level: 'warn', message: 'it is old', fix: 'take another' },
          { level: 'info', message: 'it is here', fix: 'nothing has to be done' },
        ];
      }
    }
    const bind = (container: Container): void => void container.rebind(Registry).to(NotedRegistry).inSingletonScope();
    const { ok, notes } = await verify([greeter], { profile: 'test', env: {}, bind });
    const where = { kind: 'backend', where: 'NotedRegistry' };
    expect([ok, notes]).toEqual([
      true,
      [
        { ...where, level: 'warn', message: 'it is old', fix: 'take another' },
        { ...where, level: 'info', message: 'it is here', fix: 'nothing has to be done' },
      ],
    ]);
  });

  it('name the client library of Kafka, and warn of the one without a maintainer', async () => {
    const { notes } = await verify([greeter], { profile: 'test', env: { TENON_BROKER: 'kafka' } });
    const level = libraryFor() === 'kafkajs' ? 'warn' : 'info';
    expect(notes).toMatchObject([{ kind: 'backend', where: 'KafkaBroker', level }]);
    expect(notes[0]?.message).toContain(libraryFor());
  });

  it('construct no logger if there are none', async () => {
    let count = 0;
    const bind = (container: Container): void => {
      container
        .rebind(Logger)
        .toDynamicValue(() => {
          count += 1;
          return new NotesLogger();
        })
        .inSingletonScope();
    };
    const { reason } = await refusalOf([class Plain {}], { profile: 'test', env, bind });
    expect([reason, count]).toEqual(['app.verify_failed', 0]);
  });
});

describe('a variable whose prefix is misspelt', () => {
  it.each([
    ['TENNON_REGISTRY', 'TENON_REGISTRY'],
    ['TENO_REGISTRY', 'TENON_REGISTRY'],
    ['TENNO_LOG_LEVEL', 'TENON_LOG_LEVEL'],
    ['TEN_ON_LOG_LEVEL', 'TENON_LOG_LEVEL'],
    ['TENAN_SERVER_ADDRESS', 'TENON_SERVER_ADDRESS'],
    ['_TENON_REGISTRY', 'TENON_REGISTRY'],
    ['tennon_registry_address', 'TENON_REGISTRY_ADDRESS'],
    ['TENON-REGISTRY', 'TENON_REGISTRY'],
    ['TENON.REGISTY', 'TENON_REGISTRY'],
    ['TENON-SERVER-ADDRESS', 'TENON_SERVER_ADDRESS'],
    ['TENONREGISTRY', 'TENON_REGISTRY'],
  ])('is told of with the name that was meant: %s', async (name, meant) => {
    const env = { [name]: 'memory' };
    const { ok, notes } = await verify([greeter], { profile: 'test', env });
    expect(ok).toBe(true);
    expect(notes).toEqual([
      {
        level: 'warn',
        kind: 'misspelt-variable',
        where: name,
        message: `${name} is set, and tenon does not read it. Did you mean "${meant}"?`,
        fix: `name it ${meant}; or leave it, if it is another program's`,
      },
    ]);
    const logger = new NotesLogger();
    const bind = (container: Container): void => void container.rebind(Logger).toConstantValue(logger);
    system = await System.start([greeter], { profile: 'test', env, bind });
    expect(logger.lines[0]).toMatchObject({ level: 'warn', message: notes[0]?.message });
  });

  it('is a note even if the configuration cannot be read', async () => {
    const env = { TENNON_REGISTRY: 'memory', TENON_BROKER: 'pigeon' };
    const { ok, notes } = await verify([greeter], { profile: 'test', env });
    expect([ok, notes.map(({ where }) => where)]).toEqual([false, ['TENNON_REGISTRY']]);
  });

  it.each([
    'REGISTRY',
    'TENANT_REGISTRY',
    'TENSOR_LOG_LEVEL',
    'MY_TENON_REGISTRY',
    'TENNIS_COURT',
    'TENON_TEST_REQUIRE',
    'TENON-COLOUR',
    'PATH',
  ])('is none of other programs: %s', (name) => {
    expect(misspeltVariables({ [name]: 'memory' })).toEqual([]);
  });

  it('is no note if its value is undefined', () => {
    expect(misspeltVariables({ TENNON_REGISTRY: undefined })).toEqual([]);
  });
});
