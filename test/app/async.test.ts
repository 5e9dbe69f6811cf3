import { afterEach, describe, expect, it } from '@jest/globals';
import { inject, injectable, postConstruct } from 'inversify';

import { Code, Handler, Rpc, Service, System } from '../../src/index.ts';
import { UseGuard } from '../../src/decorators/decorators.ts';

const Store: unique symbol = Symbol('Store');

@injectable()
class Opened {
  isOpen = false;
  @postConstruct() async open(): Promise<void> {
    await Promise.resolve();
    this.isOpen = true;
  }
}

@injectable()
class OpenGuard {
  constructor(@inject(Store) private readonly store: { readonly name: string }) {}
  activate(): boolean {
    return this.store.name === 'shelf';
  }
}

@Handler('shop.Shop')
@UseGuard(OpenGuard)
class ShopHandler {
  constructor(
    @inject(Store) private readonly store: { readonly name: string },
    @inject(Opened) private readonly opened: Opened,
  ) {}
  @Rpc() async look(): Promise<object> {
    return { name: this.store.name, isOpen: this.opened.isOpen };
  }
}

@Service({ name: 'shop', handlers: [ShopHandler] })
class Shop {}

let system: System | undefined;
afterEach(async () => {
  await system?.stop();
  system = undefined;
});

describe('an object that is made asynchronously', () => {
  it('is awaited at the start, for handlers and guards', async () => {
    system = await System.start([Shop], {
      profile: 'test',
      bind: (container) => {
        container
          .bind(Store)
          .toDynamicValue(async () => ({ name: 'shelf' }))
          .inSingletonScope();
        container.bind(Opened).toSelf();
      },
    });
    expect(await system.client(ShopHandler).look()).toEqual({ name: 'shelf', isOpen: true });
    expect(system.get(Store)).toEqual({ name: 'shelf' });
  });

  it('is awaited by getAsync, and the error of get says so', async () => {
    const later: unique symbol = Symbol('later');
    system = await System.start([], {
      profile: 'test',
      bind: (container) =>
        void container
          .bind(later)
          .toDynamicValue(async () => 1)
          .inSingletonScope(),
    });
    const get = (): unknown => system?.get(later);
    const failure = ((): unknown => {
      try {
        return get();
      } catch (error) {
        return error;
      }
    })();
    expect(failure).toMatchObject({ code: Code.FailedPrecondition, reason: 'app.async_binding' });
    expect(await system.getAsync(later)).toBe(1);
    expect(get()).toBe(1);
  });
});
