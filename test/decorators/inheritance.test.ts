import { describe, expect, test } from '@jest/globals';

import { rpcsOf, subscriptionsOf } from '../../src/decorators/decorators.ts';
import { Rpc, Subscribe } from '../../src/index.ts';

class Base {
  @Subscribe('base.topic', { queue: 'base' }) async onEvent(_event: object): Promise<void> {}
  @Subscribe('one') @Subscribe('two') async onBoth(_event: object): Promise<void> {}
  @Rpc({ name: 'Old' }) async call(_request: object): Promise<object> {
    return {};
  }
  @Rpc() async other(_request: object): Promise<object> {
    return {};
  }
}

const topics = (target: typeof Base): string[] =>
  subscriptionsOf(target)
    .map(({ property, topic }) => `${property} ${topic}`)
    .sort();

describe('decorated methods of base classes', () => {
  test('a subclass that overrides a subscription with another topic has the new one alone', () => {
    class Sub extends Base {
      @Subscribe('sub.topic') override async onEvent(_event: object): Promise<void> {}
    }
    class Third extends Sub {}
    for (const target of [Sub, Third])
      expect(topics(target)).toEqual(['onBoth one', 'onBoth two', 'onEvent sub.topic']);
    expect(topics(Base)).toEqual(['onBoth one', 'onBoth two', 'onEvent base.topic']);
  });

  test('a topic of the subclass replaces all topics of the overridden method', () => {
    class Sub extends Base {
      @Subscribe('two', { retry: 7 }) override async onBoth(_event: object): Promise<void> {}
    }
    expect(topics(Sub)).toEqual(['onBoth two', 'onEvent base.topic']);
    expect(subscriptionsOf(Sub).find(({ topic }) => topic === 'two')?.options).toEqual({ retry: 7 });
  });

  test('an overriding method without decorators keeps the subscription of its base', () => {
    class Sub extends Base {
      override async onEvent(_event: object): Promise<void> {}
    }
    expect(topics(Sub)).toEqual(topics(Base));
    expect(subscriptionsOf(Sub).find(({ property }) => property === 'onEvent')?.options).toEqual({ queue: 'base' });
  });

  test('an @Rpc method that is overridden with another name is answered under the new name alone', () => {
    class Sub extends Base {
      @Rpc({ name: 'New' }) override async call(_request: object): Promise<object> {
        return {};
      }
    }
    expect(rpcsOf(Sub).map(({ property, name }) => [property, name])).toEqual([
      ['other', undefined],
      ['call', 'New'],
    ]);
  });

  test('an @Rpc method that is overridden with @Subscribe no longer answers calls, and the other way round', () => {
    class Sub extends Base {
      @Subscribe('called') override async call(_event: object): Promise<never> {
        throw new Error('not called here');
      }
      @Rpc() override async onEvent(_request: object): Promise<void> {}
    }
    expect(rpcsOf(Sub).map(({ property }) => property)).toEqual(['other', 'onEvent']);
    expect(topics(Sub)).toEqual(['call called', 'onBoth one', 'onBoth two']);
  });
});
