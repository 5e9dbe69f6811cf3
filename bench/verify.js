// What verify costs: a service whose wiring is 500 bindings deep and wide, read without constructing anything.
//
//   npm run build && node bench/verify.js [bindings]
//
// The first round is what a start pays, everything cold but the modules; the median is that of later rounds, each with
// classes that were not seen before.
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
  let binding = { ms: 0, cpuMs: 0 };
  const bind = (container) => {
    const since = watch();
    container.bind('leaf').toConstantValue(0);
    for (const one of classes) container.bind(one).toSelf();
    binding = since();
  };
  const since = watch();
  const report = await verify([service], { profile: 'test', env: {}, bind });
  const whole = since();
  if (!report.ok || report.bindings < count)
    throw new Error(`${report.bindings} bindings, ${report.problems.length} problems`);
  return { ms: whole.ms - binding.ms, cpuMs: whole.cpuMs - binding.cpuMs, bindings: report.bindings };
}

/** Time, and the CPU time of the process, which others on the machine do not stretch. */
function watch() {
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  return () => {
    const { user, system } = process.cpuUsage(cpu);
    return { ms: performance.now() - start, cpuMs: (user + system) / 1_000 };
  };
}

await verify([], { profile: 'test', env: {} });
const first = await round();
const later = [];
for (let index = 0; index < rounds; index += 1) later.push(await round());
console.table([
  {
    bindings: first.bindings,
    'first ms': first.ms.toFixed(1),
    'first CPU ms': first.cpuMs.toFixed(1),
    'median ms': median(later.map((one) => one.ms)).toFixed(1),
    'median CPU ms': median(later.map((one) => one.cpuMs)).toFixed(1),
    constructed,
  },
]);
