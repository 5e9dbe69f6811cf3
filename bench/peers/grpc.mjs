// The service of the gRPC benchmark on other frameworks, each as its own documentation writes it: a server and a client
// per framework.
import 'reflect-metadata';

import { readFileSync } from 'node:fs';
import { createServer as createHttp2Server } from 'node:http2';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const protoPath = new URL('../programs/echo.proto', import.meta.url).pathname;

async function* replies(request) {
  const body = new Uint8Array(request.size);
  for (let n = 0; n < request.count; n += 1) yield { body };
}

async function countOf(stream) {
  let seen = 0;
  for await (const reply of stream) if (reply) seen += 1;
  return seen;
}

const niceGrpc = {
  async serve() {
    const { createServer } = require('nice-grpc');
    const server = createServer();
    server.add(await echoDefinition(), { unary: async (request) => request, stream: replies });
    return `127.0.0.1:${await server.listen('127.0.0.1:0')}`;
  },
  async connect(address) {
    const { createChannel, createClient } = require('nice-grpc');
    const client = createClient(await echoDefinition(), createChannel(address));
    return {
      unary: (body) => client.unary({ body }),
      stream: (count, size) => countOf(client.stream({ count, size })),
    };
  },
};

/** With the static codecs that bare grpc-js has. */
async function echoDefinition() {
  const { payload, streamRequest } = await import('../programs/messages.mjs');
  const method = (path, responseStream, request) => ({
    path,
    requestStream: false,
    responseStream,
    requestSerialize: request.encode,
    requestDeserialize: request.decode,
    responseSerialize: payload.encode,
    responseDeserialize: payload.decode,
    options: {},
  });
  return {
    unary: method('/bench.Echo/Unary', false, payload),
    stream: method('/bench.Echo/Stream', true, streamRequest),
  };
}

const nest = {
  async serve() {
    const { Controller, Module } = require('@nestjs/common');
    const { NestFactory } = require('@nestjs/core');
    const { GrpcMethod, Transport } = require('@nestjs/microservices');
    const { from } = require('rxjs');
    class EchoController {
      unary(request) {
        return request;
      }
      stream(request) {
        return from(replies(request));
      }
    }
    for (const [name, method] of Object.entries({ unary: 'Unary', stream: 'Stream' })) {
      GrpcMethod('Echo', method)(
        EchoController.prototype,
        name,
        Object.getOwnPropertyDescriptor(EchoController.prototype, name),
      );
    }
    Controller()(EchoController);
    class App {}
    Module({ controllers: [EchoController] })(App);
    const url = `127.0.0.1:${await freePort()}`;
    const options = { package: 'bench', protoPath, url };
    const app = await NestFactory.createMicroservice(App, { transport: Transport.GRPC, options, logger: false });
    await app.listen();
    return url;
  },
  async connect(address) {
    const { ClientProxyFactory, Transport } = require('@nestjs/microservices');
    const { firstValueFrom } = require('rxjs');
    const options = { package: 'bench', protoPath, url: address };
    const echo = ClientProxyFactory.create({ transport: Transport.GRPC, options }).getService('Echo');
    return {
      unary: (body) => firstValueFrom(echo.unary({ body })),
      stream: (count, size) =>
        new Promise((resolve, reject) => {
          let seen = 0;
          echo.stream({ count, size }).subscribe({
            next: () => (seen += 1),
            error: reject,
            complete: () => resolve(seen),
          });
        }),
    };
  },
};

const connect = {
  async serve() {
    const { connectNodeAdapter } = await import('@connectrpc/connect-node');
    const service = await echoService();
    const handler = connectNodeAdapter({
      routes: (router) => router.service(service, { unary: (request) => ({ body: request.body }), stream: replies }),
    });
    const server = createHttp2Server(handler);
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${server.address().port}`;
  },
  async connect(address) {
    const { createClient } = await import('@connectrpc/connect');
    const { createGrpcTransport } = await import('@connectrpc/connect-node');
    const client = createClient(await echoService(), createGrpcTransport({ baseUrl: `http://${address}` }));
    return {
      unary: (body) => client.unary({ body }),
      stream: (count, size) => countOf(client.stream({ count, size })),
    };
  },
};

async function echoService() {
  const { create, createFileRegistry, fromBinary } = await import('@bufbuild/protobuf');
  const { FileDescriptorProtoSchema, FileDescriptorSetSchema } = await import('@bufbuild/protobuf/wkt');
  const { loadProto } = await import('../../dist/codec/proto.js');
  const file = loadProto(protoPath).fileDescriptors.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  return createFileRegistry(create(FileDescriptorSetSchema, { file })).getService('bench.Echo');
}

async function freePort() {
  const { createServer } = await import('node:net');
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** By name, as the benchmark knows them. */
export const frameworks = { 'nice-grpc': niceGrpc, 'NestJS gRPC': nest, 'Connect (gRPC)': connect };

/** The version that is measured. */
export function versionOf(name) {
  return JSON.parse(readFileSync(new URL(`./node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;
}
