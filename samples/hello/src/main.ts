import { System } from 'tenon';

import { Hello, HelloHandler } from './hello.ts';

// What the environment says is stronger: TENON_PROFILE=test does the same without a port.
const env = { TENON_PROFILE: 'local', TENON_LOG_LEVEL: 'warn', ...process.env };
const system = await System.start([Hello], { env });
const hello = system.client(HelloHandler);
const reply = await hello.greet({ name: 'Ada' }, { timeoutMs: 5_000 });
console.log(reply.text);
await system.stop();
