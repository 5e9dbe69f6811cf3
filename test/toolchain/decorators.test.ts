import 'reflect-metadata';

import { expect, test } from '@jest/globals';
import { credentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Plugin } from '@inversifyjs/plugin';
import { decode } from 'dns-packet';
import { Container, inject, injectable, optional } from 'inversify';
import { Redis } from 'ioredis';
import protobuf from 'protobufjs';

const Greeting = Symbol.for('test.toolchain.Greeting');

@injectable('Singleton')
class Greeter {
  readonly greeting: string;
  constructor(@inject(Greeting) @optional() greeting = 'hello') {
    this.greeting = greeting;
  }
}

test('legacy parameter decorators and Inversify work in the test runner', () => {
  const container = new Container();
  container.bind(Greeter).toSelf();
  expect(container.get(Greeter).greeting).toBe('hello');
  expect(container.get(Greeter)).toBe(container.get(Greeter));
  container.bind(Greeting).toConstantValue('good day');
  container.rebind(Greeter).toSelf();
  expect(container.get(Greeter).greeting).toBe('good day');
  expect(Greeter.name).toBe('Greeter');
});

test('third-party libraries load as native ESM', () => {
  expect(typeof credentials.createInsecure).toBe('function');
  expect(typeof loadSync).toBe('function');
  expect(typeof Redis).toBe('function');
  expect(typeof decode).toBe('function');
  expect(typeof protobuf.Root).toBe('function');
  expect(typeof Plugin).toBe('function');
});
