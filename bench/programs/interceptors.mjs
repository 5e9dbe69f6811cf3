// The service of the benchmark inside the five interceptors that most services have: each as an application would write
// it, on the server.
import { randomBytes } from 'node:crypto';
import { z } from 'zod';

import { contextKey, Handler, Rpc, Service, UseGuard, UseInterceptor } from '../../dist/index.js';
import { bearerGuard, logging, timeout, validation } from '../../dist/interceptors/interceptors.js';
import { EchoHandler } from './tenon.mjs';

const user = contextKey('user');
const trace = contextKey('trace');
const users = new Map([['secret', { name: 'Ada' }]]);

/** What callers send along, with and without interceptors. */
export const metadata = {
  authorization: 'Bearer secret',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
};

// Entropy is taken in blocks, as tracers do.
let pool = Buffer.alloc(0);
let at = 0;
function spanId() {
  if (at + 8 > pool.length) {
    pool = randomBytes(8_192);
    at = 0;
  }
  at += 8;
  return pool.toString('hex', at - 8, at);
}

/** W3C trace context: a child of the caller's span, told to whoever is called from here. */
const tracing = () => (next) => (input, ctx) => {
  const parent = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(ctx.metadata.text('traceparent') ?? '');
  if (parent) ctx.set(trace, { traceId: parent[1], parentId: parent[2], spanId: spanId(), flags: parent[3] });
  return next(input, ctx);
};

const Payload = z.object({ body: z.instanceof(Uint8Array) });

/** Decorators by name, from the outside in. */
const steps = {
  log: () => UseInterceptor(logging()),
  trace: () => UseInterceptor(tracing()),
  // Nearer than the client's own, so that it has to act.
  deadline: () => UseInterceptor(timeout({ timeoutMs: 10_000 })),
  auth: () => UseGuard(bearerGuard({ verify: (token) => users.get(token), as: user })),
  validation: () => UseInterceptor(validation({ input: Payload })),
};

export const names = Object.keys(steps);

/** The service with the interceptors of these names. */
export function echoWith(chosen) {
  class Echo extends EchoHandler {}
  for (const name of ['unary', 'stream'])
    Rpc()(Echo.prototype, name, Object.getOwnPropertyDescriptor(EchoHandler.prototype, name));
  Handler('bench.Echo', { proto: new URL('./echo.proto', import.meta.url) })(Echo);
  for (const name of [...chosen].reverse()) steps[name]()(Echo);
  class Bench {}
  Service({ name: 'bench', handlers: [Echo] })(Bench);
  return { service: Bench, handler: Echo };
}
