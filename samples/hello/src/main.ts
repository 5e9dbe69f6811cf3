import { System } from 'tenon';

import { Hello, HelloHandler } from './hello.ts';

const system = await System.start([Hello], { profile: process.env['TENON_PROFILE'] ?? 'local' });
const hello = system.client(HelloHandler);
const reply = await hello.greet({ name: 'Ada' }, { timeoutMs: 1_000 });
console.log(reply.text);
await system.stop();
