// The same on tenon, with its container, configuration and verification.
import { System } from '../../dist/index.js';
import { Echo, EchoHandler, options } from './tenon.mjs';

const system = await System.start([Echo], options('mapped'));
const reply = await system.client(EchoHandler).unary({ body: new Uint8Array(32) });
if (reply.body.length !== 32) throw new Error('no reply');
console.log(JSON.stringify({ ms: performance.now(), cpu: process.cpuUsage() }));
process.exit(0);
