// A service with rules where @bufbuild/protovalidate is not installed: as it is to this process.
import Module from 'node:module';

const resolve = Module._resolveFilename;
Module._resolveFilename = (request, ...rest) => {
  if (request.startsWith('@bufbuild/')) {
    throw Object.assign(new Error(`Cannot find module '${request}'`), { code: 'MODULE_NOT_FOUND' });
  }
  return resolve(request, ...rest);
};

const { codeName, Handler, Rpc, Service, System } = await import('../../../dist/index.js');
const { protovalidate } = await import('../../../dist/interceptors/interceptors.js');

class Users {
  async add(user) {
    return user;
  }
  async addAll() {
    return {};
  }
  async anything(free) {
    return free;
  }
}
for (const name of ['add', 'addAll', 'anything']) {
  Rpc()(Users.prototype, name, Object.getOwnPropertyDescriptor(Users.prototype, name));
}
Handler('rules.Users', { proto: new URL('../../codec/rules.proto', import.meta.url) })(Users);
class App {}
Service({ name: 'rules', handlers: [Users], interceptors: [protovalidate()] })(App);

try {
  const system = await System.start([App], { profile: 'test' });
  await system.stop();
  console.log('started');
} catch (error) {
  console.log(codeName(error.code), error.reason, error.message);
}
