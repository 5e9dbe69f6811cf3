// Everything of an application that tenon calls, doing in turn everything that a function can do wrong. One line for
// each case, and one for what nobody caught.
import {
  CatchError,
  contract,
  Handler,
  Logger,
  Rpc,
  Service,
  Subscribe,
  System,
  TenonError,
  Code,
  UseErrorFilter,
  UseGuard,
  UseInterceptor,
  UsePipe,
} from '../../../dist/index.js';
import { ConsoleLogger } from '../../../dist/logger/console.js';
import { Selector } from '../../../dist/selector/selector.js';
import { ServiceOptions } from '../../../dist/service/service.js';

const uncaught = [];
let isDone = false;
process.on('exit', () => isDone || console.log(JSON.stringify({ uncaught, ended: 'early' })));
process.on('unhandledRejection', (error) => uncaught.push(`rejection: ${String(error?.message ?? error)}`));
process.on('uncaughtException', (error) => uncaught.push(`exception: ${String(error?.message ?? error)}`));

const hostile = () =>
  new Proxy(new Error('hostile'), {
    get() {
      throw new Error('nothing can be read');
    },
    getPrototypeOf() {
      throw new Error('nor its class');
    },
  });
// oxlint-disable-next-line unicorn/no-thenable
const thenable = (then) => ({ then });
const late = (fail) => new Promise((_resolve, reject) => setImmediate(() => reject(fail)));
const cyclic = () => {
  const error = new Error('cyclic');
  error.cause = error;
  return error;
};

async function* unsendable() {
  try {
    yield {
      toJSON() {
        throw new Error('never');
      },
    };
  } finally {
    await late(new Error('its end fails as well'));
  }
}

/** What a function may do: throw, or give back what fails. */
const deeds = {
  'throws undefined': () => {
    throw undefined;
  },
  'throws null': () => {
    throw null;
  },
  'throws a symbol': () => {
    throw Symbol('s');
  },
  'throws a frozen error': () => {
    throw Object.freeze(new Error('frozen'));
  },
  'throws an object without a prototype': () => {
    throw Object.create(null);
  },
  'throws what cannot be read': () => {
    throw hostile();
  },
  'throws a cycle': () => {
    throw cyclic();
  },
  'throws OK': () => {
    throw new TenonError({ code: Code.Ok, message: 'well' });
  },
  'throws a status that is none': () => {
    throw new TenonError({ code: 'much', message: 7, reason: 12, metadata: { 'Bad Key': {} }, details: [{}] });
  },
  'throws a status whose parts are none': () => {
    throw new TenonError({ code: 5, message: Symbol('m'), details: 5, metadata: 'text' });
  },
  'rejects with undefined': () => Promise.reject(undefined),
  'rejects later': () => late(new Error('later')),
  'gives a thenable that throws': () =>
    thenable(() => {
      throw new Error('then threw');
    }),
  'gives a thenable that rejects twice': () =>
    thenable((_resolve, reject) => {
      reject(new Error('first'));
      reject(new Error('second'));
    }),
  'gives what cannot be read': () => hostile(),
  'gives undefined': () => undefined,
  'gives null': () => null,
  'gives a number': () => 5,
  'gives a function': () => () => {},
  'gives an iterable whose iterator throws': () => ({
    [Symbol.asyncIterator]() {
      throw new Error('no iterator');
    },
  }),
  'gives an iterable without an iterator': () => ({ [Symbol.asyncIterator]: () => undefined }),
  'gives an iterable whose next throws': () => ({
    [Symbol.asyncIterator]: () => ({
      next() {
        throw new Error('next threw');
      },
      return() {
        throw new Error('return threw');
      },
    }),
  }),
  'gives an iterable whose next rejects later': () => ({
    [Symbol.asyncIterator]: () => ({ next: () => late(new Error('next')), return: () => late(new Error('return')) }),
  }),
  'gives an iterable whose next gives no result': () => ({ [Symbol.asyncIterator]: () => ({ next: () => undefined }) }),
  'gives an iterable of what cannot be sent': () => unsendable(),
  'promises an iterable that fails': async () =>
    (async function* () {
      yield { n: 1 };
      throw new Error('in the middle');
    })(),
};

const kinds = ['unary', 'server', 'client', 'bidi'];
const streams = { unary: undefined, server: 'server', client: 'client', bidi: 'bidi' };
const decorate = (target, name, ...decorators) => {
  const descriptor = Object.getOwnPropertyDescriptor(target.prototype, name);
  for (const decorator of decorators) decorator(target.prototype, name, descriptor);
};
const methods = {};
class Careless {}
const add = (what, kind, handler, ...decorators) => {
  const name = `m${Object.keys(methods).length}`;
  Object.defineProperty(Careless.prototype, name, { value: handler, writable: true, configurable: true });
  methods[name] = { what: `${what}, ${kind}`, kind };
  decorate(Careless, name, Rpc(streams[kind] ? { stream: streams[kind] } : {}), ...decorators);
};
const fine = {
  unary: async () => ({ ok: true }),
  client: async () => ({ ok: true }),
  server: async function* () {
    yield { ok: true };
  },
  bidi: async function* () {
    yield { ok: true };
  },
};
for (const [what, deed] of Object.entries(deeds)) {
  for (const kind of kinds) {
    add(`a handler ${what}`, kind, deed);
    add(`a guard ${what}`, kind, fine[kind], UseGuard({ activate: deed }));
    add(`a pipe ${what}`, kind, fine[kind], UsePipe({ execute: deed }));
    add(
      `an interceptor ${what}`,
      kind,
      fine[kind],
      UseInterceptor(() => deed),
    );
    add(
      `an interceptor after next ${what}`,
      kind,
      fine[kind],
      UseInterceptor((next) => async (input, ctx) => (await next(input, ctx), deed())),
    );
    add(`a listener of the abort ${what}`, kind, (_input, ctx) => {
      ctx.onAbort(deed);
      ctx.abort();
      return deed();
    });
    add(
      `an interceptor of Inversify's shape ${what}`,
      kind,
      fine[kind],
      UseInterceptor({
        async intercept(_request, _response, next) {
          const reply = await next();
          reply.push(deed);
        },
      }),
    );
    class Filter {
      catch() {
        return deed();
      }
    }
    CatchError()(Filter);
    add(`a filter ${what}`, kind, () => Promise.reject(new Error('for the filter')), UseErrorFilter(Filter));
  }
}
class Events {
  async never() {}
}
for (const [index, [, deed]] of Object.entries(deeds).entries()) {
  Object.defineProperty(Events.prototype, `e${index}`, { value: deed, writable: true, configurable: true });
  decorate(Events, `e${index}`, Subscribe(`topic.${index}`));
}
Handler('careless.Careless')(Careless);
Handler('careless.Events')(Events);
class App {}
Service({ name: 'careless', handlers: [Careless, Events] })(App);

const deedOfLog = Object.values(deeds);
let logged = 0;
/** A logger that always fails, each time in another way. */
const failingLogger = () => {
  const fail = () => deedOfLog[logged++ % deedOfLog.length]();
  return {
    debug: fail,
    info: fail,
    warn: fail,
    error: fail,
    child: process.env.CHILD_FAILS ? fail : () => failingLogger(),
  };
};

const system = await System.start([App], {
  profile: 'local',
  env: {
    TENON_TRANSPORT: process.env.TENON_TRANSPORT ?? 'grpc',
    TENON_LAME_DUCK_MS: '0',
    TENON_REGISTRY: 'memory',
    TENON_LOG_FORMAT: 'json',
  },
  bind: (container) => {
    container
      .rebind(Logger)
      .toConstantValue(
        process.env.LOGGER_FAILS ? failingLogger() : new ConsoleLogger({ format: 'json', level: 'error' }),
      );
  },
});
for (const deed of Object.values(deeds)) {
  // oxlint-disable-next-line typescript/no-misused-promises
  system.services[0].onChange(deed);
}

const client = system.client(
  contract(
    'careless.Careless',
    Object.fromEntries(
      Object.entries(methods).map(([name, { kind }]) => [name, streams[kind] ? { stream: streams[kind] } : {}]),
    ),
    { service: 'careless' },
  ),
);

const settled = async (what, work) => {
  let timer;
  const patience = new Promise((resolve) => {
    timer = setTimeout(resolve, 20_000, 'HANGS');
  });
  const ended = (async () => {
    try {
      await work();
      return 'OK';
    } catch (error) {
      // What a hook or a callback threw may come back as it was: to who wrote it.
      return TenonError.is(error) ? `${error.code} ${error.reason}` : 'as it was thrown';
    }
  })();
  const outcome = await Promise.race([ended, patience]);
  clearTimeout(timer);
  console.log(JSON.stringify({ what, outcome }));
};
const read = async (replies) => {
  for await (const _ of replies);
};
async function* requests() {
  yield { n: 1 };
}
const run = (name, kind, options, input) => {
  const result = client[name](input ?? (kind === 'client' || kind === 'bidi' ? requests() : {}), options);
  return kind === 'server' || kind === 'bidi' ? read(result) : result;
};
const all = Object.entries(methods);
while (all.length > 0) {
  await Promise.all(all.splice(0, 100).map(([name, { what, kind }]) => settled(what, () => run(name, kind))));
}

// The caller's own functions, against handlers that are fine.
const fineName = (kind) =>
  Object.entries(methods).find(([, one]) => one.what === `a guard gives undefined, ${kind}`)[0];
await Promise.all(
  Object.entries(deeds).flatMap(([what, deed]) =>
    kinds.map(async (kind) => {
      const name = fineName(kind);
      await Promise.all([
        settled(`onHeaders ${what}, ${kind}`, () => run(name, kind, { onHeaders: deed })),
        settled(`onTrailers ${what}, ${kind}`, () => run(name, kind, { onTrailers: deed })),
        settled(`a filter of nodes ${what}, ${kind}`, () => run(name, kind, { filters: [deed] })),
        settled(`a filter's second step ${what}, ${kind}`, () => run(name, kind, { filters: [() => deed()] })),
        settled(`credentials ${what}, ${kind}`, () => run(name, kind, { credentials: deed })),
        settled(`metadata of credentials ${what}, ${kind}`, () =>
          run(name, kind, { credentials: { metadata: deed, allowInsecure: true } }),
        ),
      ]);
      if (kind !== 'client' && kind !== 'bidi') return;
      await settled(`a source of requests ${what}, ${kind}`, () => {
        let source;
        try {
          source = deed();
        } catch (error) {
          source = { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }) };
        }
        Promise.resolve(source).catch(() => {});
        return run(name, kind, {}, source);
      });
    }),
  ),
);

// A selector of the application's own.
for (const [what, deed] of Object.entries(deeds)) {
  for (const part of ['select', 'next', 'mark']) {
    const caller = await System.start([], {
      profile: 'local',
      env: { TENON_LOG_LEVEL: 'silent', TENON_TRANSPORT: process.env.TENON_TRANSPORT ?? 'grpc' },
      bind: (container) =>
        container.rebind(Selector).toConstantValue(
          new (class {
            static capabilities = { marks: true };
            constructor(parts) {
              Object.assign(this, parts);
            }
          })({
            select:
              part === 'select'
                ? deed
                : () =>
                    part === 'next'
                      ? deed
                      : () => ({ id: 'one', address: system.services[0].server().address, metadata: {} }),
            mark: part === 'mark' ? deed : () => {},
            reset: () => {},
            close: deed,
            toString: () => 'own',
          }),
        ),
    });
    const own = caller.client(contract('careless.Careless', { [fineName('unary')]: {} }, { service: 'careless' }));
    await settled(`${part} of a selector ${what}`, () => own[fineName('unary')]({}));
    await settled(`closing after ${part} of a selector that ${what}`, () => caller.stop());
  }
}

for (const index of Object.keys(Object.values(deeds))) {
  const message = system.services[0].client().newMessage(`topic.${index}`, { n: 1 });
  await settled(`publishing to a handler that ${Object.keys(deeds)[index]}`, () =>
    system.services[0].client().publish(message),
  );
}

// Hooks around the life of a service.
for (const [what, deed] of Object.entries(deeds)) {
  for (const hook of ['beforeStart', 'afterStart', 'beforeStop', 'afterStop']) {
    class Other {}
    Service({ name: 'other', handlers: [] })(Other);
    await settled(`${hook} ${what}`, async () => {
      const other = await System.start([Other], {
        profile: 'test',
        env: {},
        bind: (container) => container.rebind(ServiceOptions).toConstantValue({ [hook]: [deed], lameDuckMs: 0 }),
      });
      await other.stop();
    });
  }
}

await settled('stopping', () => system.stop());
await new Promise((resolve) => setTimeout(resolve, 50));
isDone = true;
console.log(JSON.stringify({ uncaught }));
process.exit(0);
