import { clientStreams } from '../../pipeline/pipeline.ts';
import { wrongCount } from '../call/failures.ts';
import type { DialOptions, Message } from '../transport.ts';
import { MemoryUnaryCall } from './client-call.ts';
import { MemoryCall } from './memory-call.ts';
import type { MemoryNetwork, MemoryPort } from './memory-network.ts';
import { MemoryServerSocket } from './server-call.ts';

/** Makes a whole unary call in a network. */
export function unaryInMemory(
  network: MemoryNetwork,
  address: string,
  message: Message,
  options: DialOptions,
): Promise<Message> {
  return new Promise((resolve, reject) => {
    const client = new MemoryUnaryCall(options.path ?? options.route.path, resolve, reject);
    const call = new MemoryCall(network, address, options, client);
    network.open(call);
    if (call.port) start(call, message);
    else if (!call.isOver) waitForPort(call, message);
  });
}

// Apart, as each call would pay for the function that few need.
function waitForPort(call: MemoryCall, message: Message): void {
  call.network.whenPort(call, () => start(call, message));
}

/** Gives a call to the server at once, as the whole request is there. */
function start(call: MemoryCall, { headers, body }: Message): void {
  const port = call.port as MemoryPort;
  const route = port.routes.find(call.path);
  if (!route) {
    call.refuse(port.unknown(call.path));
    return;
  }
  if (!body && !clientStreams(route.kind)) {
    call.refuse(wrongCount(call.path, 'no'));
    return;
  }
  if (body && !call.fits(body)) return;
  call.server = new MemoryServerSocket(call, route, call.carried({ headers: headers && call.handed(headers), body }));
  call.server.endRequests();
  port.deliver(call);
}
