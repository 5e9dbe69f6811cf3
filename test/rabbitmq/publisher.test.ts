import { EventEmitter } from 'node:events';

import { describe, expect, test } from '@jest/globals';
import type { ConfirmChannel } from 'amqplib';

import { Publisher } from '../../src/rabbitmq/publisher.ts';
import { ChannelClosedError, isBlamed } from '../../src/rabbitmq/rabbitmq.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';

expectNothingUncaught();

interface Sent {
  readonly topic: string;
  readonly confirm: (error: Error | null) => void;
}

/** A channel as amqplib has it, of a server that the test plays. */
class StagedChannel extends EventEmitter {
  readonly sent: Sent[] = [];
  #isClosed = false;

  constructor() {
    super();
    this.on('close', () => {
      for (const { confirm } of this.sent.splice(0)) confirm(new Error('channel closed'));
    });
  }

  publish(_exchange: string, topic: string, _body: Buffer, _properties: object, confirm: Sent['confirm']): boolean {
    if (this.#isClosed) throw new Error('Channel closed');
    this.sent.push({ topic, confirm });
    return true;
  }

  confirm(): void {
    this.sent.shift()?.confirm(null);
  }

  close(text: string): void {
    this.#isClosed = true;
    this.emit('error', new Error(`Channel closed by server: 403 (ACCESS-REFUSED) with message "${text}"`));
    this.emit('close');
  }
}

/** A publisher, and the channels that it has opened. */
async function stage() {
  const runtime = virtualRuntime();
  const channels: StagedChannel[] = [];
  const failures: unknown[] = [];
  const publisher = new Publisher({
    openChannel: async () => {
      const channel = new StagedChannel();
      channels.push(channel);
      return channel as unknown as ConfirmChannel;
    },
    runtime,
    onFailure: (error) => failures.push(error),
  });
  await publisher.start();
  const outcomes: string[] = [];
  const send = (topic: string, bytes = 1, onHeld?: (withdraw: () => boolean) => void): void => {
    const message = { exchange: 'tenon', routingKey: topic, body: Buffer.alloc(bytes), properties: {}, onHeld };
    publisher.send(message).then(
      (isRouted) => outcomes.push(`${topic} ${isRouted}`),
      (error: Error) => outcomes.push(`${topic} ${error instanceof ChannelClosedError ? 'unknown' : error.message}`),
    );
  };
  const { timers } = runtime;
  const last = (): StagedChannel => channels.at(-1) as StagedChannel;
  const topics = (): string[] => last().sent.map(({ topic }) => topic);
  return { publisher, channels, failures, outcomes, send, timers, last, topics };
}
const megabytes = 1_024 * 1_024;

describe('Publisher', () => {
  test('one message that is refused does not fail the others with its error', async () => {
    const { outcomes, send, timers, last } = await stage();
    for (const topic of ['a', 'denied', 'b']) send(topic);
    const text = "ACCESS_REFUSED - access to topic 'denied' in exchange 'tenon' in vhost '/' refused for user 'me'";
    last().close(text);
    await timers.settle();
    expect(outcomes).toEqual([
      'a unknown',
      `denied Channel closed by server: 403 (ACCESS-REFUSED) with message "${text}"`,
      'b unknown',
    ]);
  });

  test('a message that was alone on its channel has the words, whatever they name', async () => {
    const { outcomes, send, timers, last } = await stage();
    send('a');
    last().close('something else');
    await timers.settle();
    expect(outcomes).toEqual([expect.stringContaining('something else')]);
  });

  test('what waits while a channel is closed goes to the next one, and not to that', async () => {
    const { outcomes, send, timers, channels, last, topics } = await stage();
    send('first', 40 * megabytes);
    send('second', 40 * megabytes);
    expect(topics()).toEqual(['first']);
    last().close('no');
    await timers.advance(10);
    expect([channels.length, topics()]).toEqual([2, ['second']]);
    last().confirm();
    await timers.settle();
    expect(outcomes).toEqual([expect.stringContaining('first Channel closed by server'), 'second true']);
  });

  test('messages that are all refused do not cost a channel each', async () => {
    const { send, timers, channels, last, outcomes } = await stage();
    for (let sent = 0; sent < 200; sent += 1) {
      send(String(sent));
      if (last().sent.length > 0) last().close('no');
      await timers.advance(10);
    }
    expect(channels.length).toBeLessThan(12);
    await timers.advance(2_000);
    last().close('no');
    await timers.settle();
    expect(outcomes).toHaveLength(200);
  });

  test('a channel on which something was confirmed is opened again at once', async () => {
    const { send, timers, channels, last } = await stage();
    for (let time = 1; time < 20; time += 1) {
      send('good');
      last().confirm();
      last().close('no');
      await timers.settle();
      expect(channels).toHaveLength(time + 1);
    }
  });

  test('as many bytes are under way as may be, one message at least, and none overtakes another', async () => {
    const { outcomes, send, timers, last, topics } = await stage();
    send('large', 100 * megabytes);
    send('half', 33 * megabytes);
    send('other half', 33 * megabytes);
    send('small');
    expect(topics()).toEqual(['large']);
    last().confirm();
    expect(topics()).toEqual(['half']);
    last().confirm();
    expect(topics()).toEqual(['other half', 'small']);
    last().confirm();
    last().confirm();
    await timers.settle();
    expect(outcomes).toEqual(['large true', 'half true', 'other half true', 'small true']);
  });

  test('a message that is withdrawn while it waits is not published, and its call ends', async () => {
    const { publisher, outcomes, send, timers, last, topics } = await stage();
    publisher.isBlocked = true;
    let withdraw = (): boolean => false;
    send('withdrawn', 1, (take) => (withdraw = take));
    send('kept');
    expect([withdraw(), withdraw()]).toEqual([true, false]);
    publisher.isBlocked = false;
    expect(topics()).toEqual(['kept']);
    last().confirm();
    await timers.settle();
    expect(outcomes).toEqual(['withdrawn the message was withdrawn before it was published', 'kept true']);
  });

  test('two messages of one id that are returned are both reported', async () => {
    const { last, send, outcomes, timers } = await stage();
    send('gone');
    send('gone');
    const returned = { fields: { routingKey: 'gone' }, properties: { messageId: undefined } };
    last().emit('return', returned);
    last().emit('return', returned);
    last().confirm();
    last().confirm();
    await timers.advance(0);
    expect(outcomes).toEqual(['gone false', 'gone false']);
  });

  test('ends with all that it has, and opens no other channel', async () => {
    const { publisher, channels, failures, outcomes, send, timers, last } = await stage();
    send('sent');
    publisher.isBlocked = true;
    send('held');
    publisher.end(new Error('it is lost'));
    last().emit('close');
    send('late');
    await timers.advance(10_000);
    expect([...outcomes].sort()).toEqual(['held it is lost', 'late it is lost', 'sent it is lost']);
    expect([channels.length, failures]).toEqual([1, []]);
  });
});

test('a copy is meant by the name of the default exchange', () => {
  const text = "access to exchange 'amq.default' in vhost '/' refused for user 'me'";
  expect(isBlamed(text, { exchange: '', routingKey: 'queue', body: Buffer.alloc(5) })).toBe(true);
});

test.each([
  ["access to topic 'a' in exchange 'tenon' in vhost '/' refused for user 'me'", true],
  ["access to topic 'b' in exchange 'tenon' in vhost '/' refused for user 'me'", false],
  ["NOT_FOUND - no exchange 'tenon' in vhost '/'", true],
  ["NOT_FOUND - no exchange 'micro' in vhost '/'", false],
  ['PRECONDITION_FAILED - message size 5 is larger than configured max size 4', true],
  ['PRECONDITION_FAILED - message size 50 is larger than configured max size 4', false],
  ["access to exchange 'amq.default' in vhost '/' refused for user 'me'", false],
  ['anything else', false],
])('%s is about a message: %s', (text, isIt) => {
  expect(isBlamed(text, { exchange: 'tenon', routingKey: 'a', body: Buffer.alloc(5) })).toBe(isIt);
});
