// To the first answered call with what a program on grpc-js by hand would load.
import 'reflect-metadata';

import { credentials, loadPackageDefinition, Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Container } from 'inversify';

class EchoHandler {
  unary(call, reply) {
    reply(null, call.request);
  }
  stream(call) {
    call.end();
  }
}
const container = new Container();
container.bind(EchoHandler).toSelf().inSingletonScope();
const { Echo } = loadPackageDefinition(loadSync(new URL('./echo.proto', import.meta.url).pathname)).bench;
const server = new Server();
server.addService(Echo.service, container.get(EchoHandler));
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  const client = new Echo(`127.0.0.1:${port}`, credentials.createInsecure());
  client.unary({ body: Buffer.alloc(32) }, (failure, reply) => {
    if (failure || reply.body.length !== 32) throw failure ?? new Error('no reply');
    console.log(JSON.stringify({ ms: performance.now(), cpu: process.cpuUsage() }));
    process.exit(0);
  });
});
