// What verify costs: a service whose wiring is 500 bindings deep and wide, read without constructing anything.
//
//   npm run build && node bench/verify.js [bindings]
//
// The first round is what a start pays, everything cold but the modules; the median is that of later rounds, each with classes that were not seen before.
import { decorate, inject } from 'inversify';

import { Handler, Rpc, Service, verify } from '../dist/index.js';
import { median } from './statistics.mjs';

const count = Number(process.argv[2] ?? 500);
const rounds = 15;
let constructed = 0;

/** `count` classes, each of which needs up to three of those before it. */
function makeClasses() {
  const classes = [];
  for (let index = 0; index < count; index += 1) {
    const name = `Part${index}`;
    // A class expression in an object takes the key for its name.
    const target = {
      [name]: class {
        constructor(_first, _second, _third) {
          constructed += 1;
        }
      },
    }[name];
    for (let place = 0; place < 3; place += 1) {
      decorate(inject(classes[(index * (place + 7)) % Math.max(1, index)] ?? 'leaf'), target, place);
    }
    classes.push(target);
  }
  return classes;
}

function makeService(last) {
  class GreeterHandler {
    constructor(part) {
      constructed += 1;
      this.part = part;
    }
    async hello() {
      return {};
    }
  }
  decorate(inject(last), GreeterHandler, 0);
  Rpc()(GreeterHandler.prototype, 'hello', Object.getOwnPropertyDescriptor(GreeterHandler.prototype, 'hello'));
  Handler('greeter.Greeter')(GreeterHandler);
  class Greeter {}
  Service({ name: 'greeter', handlers: [GreeterHandler] })(Greeter);
  return Greeter;
}

async function round() {
  const classes = makeClasses();
  const service = makeService(classes.at(-1));
  let bindMs = 0;
  const bind = (container) => {
    const start = performance.now();
    container.bind('leaf').toConstantValue(0);
    for (const one of classes) container.bind(one).toSelf();
    bindMs = performance.now() - start;
  };
  const start = performance.now();
  const report = await verify([service], { profile: 'test', env: {}, bind });
  const ms = performance.now() - start - bindMs;
  if (!report.ok || report.bindings < count)
    throw new Error(`${report.bindings} bindings, ${report.problems.length} problems`);
  return { ms, bindings: report.bindings };
}

await verify([], { profile: 'test', env: {} });
const first = await round();
const later = [];
for (let index = 0; index < rounds; index += 1) later.push((await round()).ms);
console.table([
  { bindings: first.bindings, 'first ms': first.ms.toFixed(1), 'median ms': median(later).toFixed(1), constructed },
]);
