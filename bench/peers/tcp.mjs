// The service of the TCP benchmark on other frameworks, each as its own documentation writes it. Both speak JSON; a
// body is a text of that many letters.
import 'reflect-metadata';

import { createRequire } from 'node:module';
import { createServer } from 'node:net';

const require = createRequire(import.meta.url);

/** Both take a port and do not tell which one they chose. */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** The benchmark's bytes, as a text of the same length. */
function inText(call) {
  const texts = new Map();
  return {
    unary: (body) => {
      if (!texts.has(body.length)) texts.set(body.length, 'x'.repeat(body.length));
      return call({ body: texts.get(body.length) });
    },
  };
}

const nest = {
  async serve() {
    const { Controller, Module } = require('@nestjs/common');
    const { NestFactory } = require('@nestjs/core');
    const { MessagePattern, Payload, Transport } = require('@nestjs/microservices');
    class EchoController {
      unary(request) {
        return request;
      }
    }
    const method = Object.getOwnPropertyDescriptor(EchoController.prototype, 'unary');
    MessagePattern('unary')(EchoController.prototype, 'unary', method);
    Payload()(EchoController.prototype, 'unary', 0);
    Controller()(EchoController);
    class EchoModule {}
    Module({ controllers: [EchoController] })(EchoModule);
    const port = await freePort();
    const app = await NestFactory.createMicroservice(EchoModule, {
      transport: Transport.TCP,
      options: { host: '127.0.0.1', port },
      logger: false,
    });
    await app.listen();
    return `127.0.0.1:${port}`;
  },
  async connect(address) {
    const { ClientProxyFactory, Transport } = require('@nestjs/microservices');
    const { firstValueFrom } = require('rxjs');
    const [host, port] = address.split(':');
    const client = ClientProxyFactory.create({ transport: Transport.TCP, options: { host, port: Number(port) } });
    await client.connect();
    return inText((request) => firstValueFrom(client.send('unary', request)));
  },
};

const moleculer = {
  async serve() {
    const { ServiceBroker } = require('moleculer');
    const port = await freePort();
    const broker = new ServiceBroker({
      nodeID: 'server',
      logger: false,
      transporter: { type: 'TCP', options: { udpDiscovery: false, port, urls: [] } },
    });
    broker.createService({ name: 'echo', actions: { unary: (ctx) => ctx.params } });
    await broker.start();
    return `127.0.0.1:${port}`;
  },
  async connect(address) {
    const { ServiceBroker } = require('moleculer');
    const broker = new ServiceBroker({
      nodeID: 'client',
      logger: false,
      transporter: {
        type: 'TCP',
        options: { udpDiscovery: false, port: await freePort(), urls: [`${address}/server`] },
      },
    });
    await broker.start();
    await broker.waitForServices('echo', 20_000);
    return inText((request) => broker.call('echo.unary', request));
  },
};

export const frameworks = { 'NestJS TCP': nest, 'Moleculer TCP': moleculer };
