import assert from 'node:assert/strict';

import type { Broker } from '../../broker/broker.ts';
import type { Case } from '../api.ts';
import {
  brokerCase,
  type BrokerFixture,
  type BrokerHarness,
  delivered,
  message,
  publish,
  type Received,
  textOf,
} from './broker-fixture.ts';

/** Words after the topic of the fixture whose events become dead letters, each in another way. */
const failing = ['.thrown', '.rejected', '.refused'];

const deadLetterTopic = (topic: string): string => `${topic}.dead-letter`;

/** Two groups of one pattern, by `deliver` and by `subscribe`, whose receivers cannot handle the failing words. */
class PatternGroups {
  readonly handled: string[] = [];
  readonly #fixture: BrokerFixture;
  readonly #ends: (() => Promise<void>)[] = [];
  #plain: Received | undefined;

  constructor(fixture: BrokerFixture) {
    this.#fixture = fixture;
  }

  /** The topics of the events that the second group has seen. */
  get seen(): string[] {
    return this.#plain?.events.map(({ topic }) => topic) ?? [];
  }

  async join(broker: Broker): Promise<void> {
    const fixture = this.#fixture;
    const topic = `${fixture.topic}.>`;
    const subscriber = await delivered(fixture, broker, { topic, queue: 'handlers', retry: 0 }, async (event) => {
      this.handled.push(event.topic);
      if (textOf(event) === '.thrown') throw new Error('it cannot be handled');
      if (textOf(event) === '.rejected') await event.reject(new Error('it cannot be handled'));
    });
    this.#ends.push(() => fixture.within('the end of the first group', subscriber.unsubscribe()));
    const plain = await fixture.receive(broker, {
      topic,
      queue: 'others',
      settle: (event) => (textOf(event) === '.refused' ? event.reject(new Error('it cannot be handled')) : event.ack()),
    });
    this.#plain = plain;
    this.#ends.push(() => plain.stop());
  }

  /** Resolves when both groups have handled an event of the topic. */
  async have(words: string): Promise<void> {
    const topic = this.#fixture.topic + words;
    await this.#fixture.until(
      `an event of ${words} in both groups`,
      () => this.handled.includes(topic) && this.seen.includes(topic),
    );
  }

  async leave(): Promise<void> {
    for (const end of this.#ends) await end();
  }
}

/** Cases of dead letters: none is lost, and no subscription handles its own. */
export const deadLetterCases: readonly Case<BrokerHarness>[] = [
  brokerCase(
    'dead letters under a pattern wait for the queue that subscribed to them, and no group of the pattern has them',
    'wildcards persistent groups',
    async (fixture) => {
      const broker = await fixture.broker();
      const graves = (): Promise<Received[]> =>
        Promise.all(
          failing.map((words) =>
            fixture.receive(broker, { topic: deadLetterTopic(fixture.topic + words), queue: 'graves' }),
          ),
        );
      for (const grave of await graves()) await grave.stop();
      const groups = new PatternGroups(fixture);
      await groups.join(broker);
      for (const words of failing) await broker.publish(fixture.topic + words, message(words));
      for (const words of failing) await groups.have(words);
      const dead = await graves();
      for (const grave of dead) await grave.count(1);
      // Dead letters that came back would come before this one.
      await broker.publish(`${fixture.topic}.last`, message('.last'));
      await groups.have('.last');
      await groups.leave();
      const all = [...failing, '.last'].map((words) => fixture.topic + words).toSorted();
      assert.deepStrictEqual(groups.handled.toSorted(), all);
      assert.deepStrictEqual(groups.seen.toSorted(), all);
      for (const [index, words] of failing.entries()) {
        assert.deepStrictEqual(dead[index]?.texts, [words]);
        assert.equal(dead[index]?.events[0]?.headers['tenon-original-topic'], fixture.topic + words);
      }
    },
  ),
  brokerCase('a dead letter of which no queue has heard is kept', 'keepsDeadLetters groups', async (fixture) => {
    const broker = await fixture.broker();
    const handled: string[] = [];
    const subscriber = await delivered(fixture, broker, { queue: 'handlers', retry: 0 }, async (event) => {
      handled.push(textOf(event));
      throw new Error('it cannot be handled');
    });
    await publish(broker, fixture.topic, ['bad']);
    await fixture.until('the event', () => handled.length > 0);
    await fixture.within('the end of the subscription', subscriber.unsubscribe());
    assert.deepStrictEqual((await kept(fixture, broker, fixture.topic)).texts, ['bad']);
    assert.deepStrictEqual(handled, ['bad']);
  }),
  brokerCase(
    'a dead letter of which only patterns have heard is kept, and comes once',
    'wildcards keepsDeadLetters groups',
    async (fixture) => {
      const broker = await fixture.broker();
      const groups = new PatternGroups(fixture);
      await groups.join(broker);
      for (const words of failing) await broker.publish(fixture.topic + words, message(words));
      for (const words of failing) await groups.have(words);
      await groups.leave();
      for (const words of failing)
        assert.deepStrictEqual((await kept(fixture, broker, fixture.topic + words)).texts, [words]);
    },
  ),
];

/** The dead letters that the broker has kept for whoever asks first. */
async function kept(fixture: BrokerFixture, broker: Broker, topic: string): Promise<Received> {
  const { replay, deadLetterQueue = 'graves' } = fixture.capabilities;
  const received = await fixture.receive(broker, {
    topic: deadLetterTopic(topic),
    queue: deadLetterQueue,
    from: replay ? 'start' : undefined,
  });
  await received.count(1);
  return received;
}
