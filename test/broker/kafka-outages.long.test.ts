import { setTimeout as sleep } from 'node:timers/promises';

import { expect, test } from '@jest/globals';

import type { Event } from '../../src/broker/broker.ts';
import { Code } from '../../src/errors/errors.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { becomes, committed, connected, patienceMs } from './kafka-support.ts';
import { collector, eventually, publishAtLast, publishText, text } from './support.ts';

const limitMs = 180_000;

describeWithServer(
  'KafkaBroker, and a server that fails',
  new BackendServer('kafka', { persistent: true }),
  (server) => {
    test(
      'a server that hangs is noticed, publishing fails, and all goes on when it is back',
      async () => {
        const { broker } = await connected(server, { timeoutMs: 4_000, partitions: 1 });
        const [member, alone] = [collector(), collector()];
        await broker.subscribe('hung', member.receive, { queue: 'q' });
        await broker.subscribe('hung', alone.receive);
        await publishText(broker, 'hung', 'before');
        await eventually('the first', () => member.texts.length === 1 && alone.texts.length === 1, patienceMs);
        server.pause();
        await eventually('it is noticed', () => broker.status.state === 'away', patienceMs);
        expect(await failureOf(publishText(broker, 'hung', 'never'))).toMatchObject({
          reason: expect.stringMatching(/^broker\.(unreachable|timeout)$/),
        });
        server.resume();
        await eventually('it is back', () => broker.status.state === 'connected', patienceMs);
        await publishText(broker, 'hung', 'after');
        await eventually(
          'what came after',
          () => member.texts.includes('after') && alone.texts.includes('after'),
          patienceMs,
        );
      },
      limitMs,
    );

    test(
      'a publisher without subscriptions notices a server that hangs, too',
      async () => {
        const { broker } = await connected(server, { timeoutMs: 4_000 });
        await publishText(broker, 'idle', 'x');
        server.pause();
        await eventually('it is noticed', () => broker.status.state === 'away', patienceMs);
        server.resume();
        await eventually('it is back', () => broker.status.state === 'connected', patienceMs);
      },
      limitMs,
    );

    test(
      'a server that is killed and comes back with its data: nothing is lost, what is in hand stays in hand',
      async () => {
        const { broker, said } = await connected(server, { timeoutMs: 4_000, partitions: 1, sessionTimeoutMs: 30_000 });
        const held: Event[] = [];
        await broker.subscribe('killed', (event) => void held.push(event), { queue: 'q' });
        for (const body of ['a', 'b']) await publishText(broker, 'killed', body);
        await eventually('both', () => held.length === 2, patienceMs);
        await server.kill();
        const acknowledged = held[0]?.ack();
        await eventually('it is noticed', () => broker.status.state === 'away', patienceMs);
        await server.start();
        await acknowledged;
        await publishAtLast(broker, 'killed', 'c');
        await eventually('what came later', () => held.length >= 3, patienceMs);
        await held[1]?.ack();
        await held[2]?.ack();
        await becomes('all is committed', async () => (await committed(server, 'killed')).get(0), 3);
        expect(held.map(text)).toEqual(['a', 'b', 'c']);
        expect(said('error')).toEqual([]);
      },
      limitMs,
    );

    test(
      'a server that comes back without its data: topics and groups are made anew',
      async () => {
        const { broker } = await connected(server, { timeoutMs: 4_000, partitions: 1 });
        const [member, alone] = [collector(), collector()];
        await broker.subscribe('erased', member.receive, { queue: 'q' });
        await broker.subscribe('erased', alone.receive);
        for (const body of ['a', 'b', 'c']) await publishText(broker, 'erased', body);
        await eventually('all', () => member.texts.length === 3 && alone.texts.length === 3, patienceMs);
        await server.kill();
        server.erase();
        await server.start();
        await publishAtLast(broker, 'erased', 'd');
        await eventually('what came later', () => member.texts.includes('d') && alone.texts.includes('d'), patienceMs);
        await becomes('it is committed', async () => (await committed(server, 'erased')).get(0), 1);
      },
      limitMs,
    );

    test(
      'publishing through a restart loses nothing that was confirmed',
      async () => {
        const { broker } = await connected(server, { timeoutMs: 5_000, partitions: 3 });
        const received = new Set<string>();
        await broker.subscribe('restart', (event) => (received.add(text(event)), event.ack()), { queue: 'q' });
        const confirmed: string[] = [];
        let isOver = false;
        const publishing = (async () => {
          for (let number = 0; !isOver; number += 1) {
            const batch = Array.from({ length: 20 }, (_, index) => `${number}-${index}`);
            const results = await Promise.allSettled(batch.map((body) => publishText(broker, 'restart', body)));
            confirmed.push(...batch.filter((_, index) => results[index]?.status === 'fulfilled'));
            await sleep(20);
          }
        })();
        await eventually('some', () => confirmed.length > 200, patienceMs);
        await server.kill();
        await server.start();
        const before = confirmed.length;
        await eventually('more', () => confirmed.length > before + 200, patienceMs);
        isOver = true;
        await publishing;
        await eventually('all', () => confirmed.every((body) => received.has(body)), patienceMs);
      },
      limitMs,
    );

    test(
      'the first of several addresses that answers is used, and the next when it is gone',
      async () => {
        const { broker } = await connected(server, { address: `127.0.0.1:1,${server.address}` });
        await publishText(broker, 'several', 'x');
        expect(broker.address).toBe(`127.0.0.1:1,${server.address}`);
      },
      limitMs,
    );
  },
);

const credentials = { username: 'tenon', password: 'right' };
const asSuperUser = (server: BackendServer): string[] => ['--bootstrap-server', server.details['internal'] ?? ''];

describeWithServer(
  'KafkaBroker, and a server that wants credentials',
  new BackendServer('kafka', {
    credentials,
    args: [
      'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'allow.everyone.if.no.acl.found=true',
      'super.users=User:ANONYMOUS',
      'listener.name.clients.scram-sha-256.connections.max.reauth.ms=11000',
    ],
  }),
  (server) => {
    test.each(['PLAIN', 'SCRAM-SHA-256'] as const)(
      'a user and a password are proved by %s, and wrong ones are refused once',
      async (sasl) => {
        const { broker } = await connected(server, { credentials, sasl });
        const received = collector();
        await broker.subscribe(`with-${sasl}`, received.receive, { queue: 'q' });
        await publishText(broker, `with-${sasl}`, 'x');
        await eventually('the event', () => received.texts.length === 1, patienceMs);
        const wrong = connected(server, { credentials: { ...credentials, password: 'wrong' }, sasl });
        const error = await failureOf(wrong);
        expect(error).toMatchObject({ code: Code.Unauthenticated, reason: 'broker.refused' });
        expect(error.message).toContain('TENON_BROKER_PASSWORD');
      },
      limitMs,
    );

    test(
      'a mechanism that the server does not have, and no user, are refused with what to do',
      async () => {
        const unknown = await failureOf(connected(server, { credentials, sasl: 'SCRAM-SHA-512' }));
        expect(unknown).toMatchObject({ code: Code.Unauthenticated, reason: 'broker.refused' });
        expect(unknown.message).toContain('TENON_KAFKA_SASL');
        const nobody = await failureOf(connected(server, { timeoutMs: 4_000 }));
        expect(nobody).toMatchObject({ code: Code.Unavailable, reason: 'broker.unreachable' });
        expect(nobody.message).toContain('TENON_BROKER_USERNAME');
      },
      limitMs,
    );

    test(
      'rights that are taken end the subscription, and are asked for when publishing',
      async () => {
        const { broker } = await connected(server, { credentials });
        await publishText(broker, 'secret', 'x');
        const reader = await broker.subscribe('secret', () => undefined, { queue: 'q' });
        const acl = ['--deny-principal', 'User:tenon', '--operation', 'Write', '--operation', 'Read'];
        await server.tool(
          'org.apache.kafka.tools.AclCommand',
          ...asSuperUser(server),
          '--add',
          ...acl,
          '--topic',
          'secret',
        );
        let error: unknown;
        await becomes(
          'it is denied',
          async () => {
            error = await publishText(broker, 'secret', 'x').catch((cause: unknown) => cause);
            return (error as { code?: Code } | undefined)?.code;
          },
          Code.PermissionDenied,
        );
        expect(error).toMatchObject({ reason: 'broker.refused' });
        expect((error as Error).message).toContain('rights');
        expect(await reader.closed).toMatchObject({ code: Code.PermissionDenied, reason: 'broker.refused' });
      },
      limitMs,
    );

    test(
      'a user that is removed while it is connected is refused, which is said once, until it is there again',
      async () => {
        const { broker, logger } = await connected(server, { credentials, sasl: 'SCRAM-SHA-256', timeoutMs: 4_000 });
        const received = collector();
        await broker.subscribe('removed', received.receive, { queue: 'q' });
        await publishText(broker, 'removed', 'before');
        await eventually('the first', () => received.texts.length === 1, patienceMs);
        const user = [...asSuperUser(server), '--alter', '--entity-type', 'users', '--entity-name', 'tenon'];
        await server.tool('kafka.admin.ConfigCommand', ...user, '--delete-config', 'SCRAM-SHA-256');
        await eventually('it is noticed', () => broker.status.state === 'away', patienceMs);
        const error = await failureOf(publishText(broker, 'removed', 'meanwhile'));
        expect(error).toMatchObject({ code: Code.Unauthenticated, reason: 'broker.refused' });
        await server.tool('kafka.admin.ConfigCommand', ...user, '--add-config', 'SCRAM-SHA-256=[password=right]');
        await eventually('it is back', () => broker.status.state === 'connected', patienceMs);
        await publishText(broker, 'removed', 'after');
        await eventually('what came after', () => received.texts.includes('after'), patienceMs);
        const said = logger.texts.filter((line) => /^(warn|error) /.test(line));
        expect(said).toEqual([...new Set(said)]);
        expect(said).toContain('warn the connection to the broker is lost; it is tried again');
      },
      limitMs,
    );
  },
);
