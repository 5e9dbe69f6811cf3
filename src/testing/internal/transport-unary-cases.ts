import assert from 'node:assert/strict';

import { Metadata, type MetadataValue } from '../../context/metadata.ts';
import { okStatus } from '../../context/status.ts';
import { Code, codeName } from '../../errors/errors.ts';
import type { Message } from '../../transport/transport.ts';
import type { Case } from '../api.ts';
import { failureOf } from '../failures.ts';
import {
  answerOf,
  assertFailure,
  bytesOf,
  codeOf,
  contextWith,
  echo,
  requestsOf,
  type TransportFixture,
  routes,
  textOf,
  type TransportHarness,
  withTransport,
} from './transport-fixture.ts';

/** Makes a unary call by `dial`, which every transport has. */
function callUnary(fixture: TransportFixture, message: Message) {
  const socket = fixture.dial(routes.unary);
  void socket.send(message);
  socket.end();
  return answerOf(socket);
}

const statusMessages = [
  '',
  'plain',
  'naïve – 東京 😀',
  'two\nlines\r\n\tand a tab',
  '100 % sure, 50%25, %',
  '"quoted" \\ <b>',
  ' ',
  ' begins with a blank',
  'ends with blanks  ',
  '\tbegins and ends with a tab\t',
  '\u0000\u0001 control \u001b characters \u007f',
  '%20 %zz %',
  'half a surrogate: \ud83d',
];

/** The text after a round trip through UTF-8. */
function asUtf8(text: string): string {
  return textOf(bytesOf(text));
}

/** Cases of calls with one request and one reply. */
export const unaryCases: readonly Case<TransportHarness>[] = [
  {
    name: 'a unary call carries headers and body there, and headers, body, status and trailers back',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          const first = await socket.recv();
          assert.equal(first?.headers?.get('who'), 'ada');
          assert.equal(textOf(first?.body ?? bytesOf('')), 'ping');
          assert.equal(await socket.recv(), undefined, 'a unary request is one message');
          void socket.send({
            headers: new Metadata({ from: 'server' }),
            body: bytesOf('pong'),
            status: { code: Code.Ok, message: '', metadata: new Metadata({ took: '3' }) },
          });
        },
        async (fixture) => {
          const answer = await callUnary(fixture, { headers: new Metadata({ who: 'ada' }), body: bytesOf('ping') });
          assert.equal(answer.error, undefined);
          assert.equal(answer.headers?.get('from'), 'server');
          assert.deepEqual(answer.bodies, ['pong']);
          assert.equal(answer.status?.code, Code.Ok);
          assert.equal(answer.status?.message, '');
          assert.equal(answer.status?.metadata?.get('took'), '3');
        },
      ),
  },
  {
    name: 'metadata carries bytes, and several values under a key',
    run: (options) => {
      const sent = (): Metadata =>
        new Metadata({
          'raw-bin': [Uint8Array.of(0, 255, 10), Uint8Array.of(), Uint8Array.of(44)],
          list: ['a', 'b c'],
          empty: '',
        });
      const check = (metadata: Metadata | undefined, where: string): void => {
        assert.deepEqual(metadata?.getAll('raw-bin').map(plain), [[0, 255, 10], [], [44]], where);
        // HTTP may join the values of a text key by a comma, and gRPC says that it is the same.
        assert.equal(metadata?.getAll('list').join(', '), 'a, b c', where);
        assert.equal(metadata?.get('empty'), '', where);
      };
      return metadataBothWays(options, sent, check);
    },
  },
  {
    name: 'metadata keys that every object inherits are keys like others',
    run: (options) => {
      const keys = ['constructor', 'tostring', 'hasownproperty', '__proto__', 'valueof'];
      const sent = (): Metadata => {
        const metadata = new Metadata();
        for (const key of keys) metadata.append(key, `of ${key}`);
        return metadata;
      };
      const check = (metadata: Metadata | undefined, where: string): void => {
        assert.equal(metadata?.get('isprototypeof'), undefined, where);
        for (const key of keys) {
          assert.equal(metadata?.get(key), `of ${key}`, `${where}: ${key}`);
          assert.deepEqual(metadata.getAll(key), [`of ${key}`], `${where}: ${key}`);
          assert.ok(
            [...metadata].some(([name, value]) => name === key && value === `of ${key}`),
            `${where}: ${key}`,
          );
          const json = new Map(Object.entries(metadata.toJSON()));
          assert.equal(json.get(key), `of ${key}`, `${where}, as JSON: ${key}`);
        }
      };
      return metadataBothWays(options, sent, check);
    },
  },
  {
    name: 'metadata keys are lower case',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          const headers = (await socket.recv())?.headers;
          assert.ok([...(headers ?? [])].some(([key]) => key === 'x-mixed-case'));
          void socket.send({ headers: new Metadata({ 'X-Back': '1' }), body: bytesOf(''), status: okStatus });
        },
        async (fixture) => {
          const { headers } = await callUnary(fixture, {
            headers: new Metadata({ 'X-Mixed-Case': '1' }),
            body: bytesOf(''),
          });
          assert.ok([...(headers ?? [])].some(([key]) => key === 'x-back'));
        },
      ),
  },
  {
    name: "what a side does to the metadata it received is not seen by the sender's",
    run: (options) => {
      const sent = new Metadata({ key: 'mine' });
      return withTransport(
        options,
        async (socket) => {
          const headers = (await socket.recv())?.headers;
          headers?.set('key', 'theirs').set('more', '1');
          void socket.send({ body: bytesOf(''), status: okStatus });
        },
        async (fixture) => {
          await callUnary(fixture, { headers: sent, body: bytesOf('') });
          assert.deepEqual(sent.toJSON(), { key: 'mine' });
        },
      );
    },
  },
  {
    name: 'an empty body is a message',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const answer = await callUnary(fixture, { body: bytesOf('') });
        assert.deepEqual([answer.bodies, answer.status?.code], [[''], Code.Ok]);
      }),
  },
  {
    name: 'a body of one MiB arrives whole',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          const body = (await socket.recv())?.body;
          void socket.send({ body: body?.map((byte) => byte ^ 0xff), status: okStatus });
        },
        async (fixture) => {
          const body = new Uint8Array(1024 * 1024).map((_, index) => (index * 31) >> 3);
          const socket = fixture.dial(routes.unary);
          void socket.send({ body });
          socket.end();
          let reply: Uint8Array | undefined;
          for (let message = await socket.recv(); message; message = await socket.recv()) reply ??= message.body;
          assert.equal(reply?.length, body.length);
          assert.ok(reply.every((byte, index) => byte === ((body[index] as number) ^ 0xff)));
        },
      ),
  },
  {
    name: 'every status code arrives',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          const [code = ''] = await requestsOf(socket);
          const status = { code: Number(code) as Code, message: `this is ${code}` };
          void socket.send(status.code === Code.Ok ? { body: bytesOf(''), status } : { status });
        },
        async (fixture) => {
          for (const code of Object.values(Code)) {
            const { status, error } = await callUnary(fixture, { body: bytesOf(String(code)) });
            assert.equal(error, undefined, `${codeName(code)} broke the call off: ${error?.message}`);
            assert.equal(status?.code, code);
            if (code !== Code.Ok) assert.equal(status.message, `this is ${code}`);
          }
        },
      ),
  },
  {
    name: 'a status message arrives whatever it is made of',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          const [index = ''] = await requestsOf(socket);
          void socket.send({ status: { code: Code.NotFound, message: statusMessages[Number(index)] as string } });
        },
        async (fixture) => {
          for (const [index, message] of statusMessages.entries()) {
            const { status } = await callUnary(fixture, { body: bytesOf(String(index)) });
            assert.equal(status?.message, asUtf8(message));
          }
        },
      ),
  },
  {
    name: 'an error status comes with its trailers, with headers and without',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          const [kind = ''] = await requestsOf(socket);
          const status = {
            code: Code.Aborted,
            message: 'no',
            metadata: new Metadata({ why: 'so', 'why-bin': Uint8Array.of(1, 2) }),
          };
          void socket.send(kind === 'headers' ? { headers: new Metadata({ early: '1' }), status } : { status });
        },
        async (fixture) => {
          for (const kind of ['headers', 'none']) {
            const answer = await callUnary(fixture, { body: bytesOf(kind) });
            assert.deepEqual(answer.bodies, []);
            assert.equal(answer.status?.code, Code.Aborted);
            assert.equal(answer.status.metadata?.get('why'), 'so');
            assert.deepEqual(plain(answer.status.metadata.get('why-bin')), [1, 2]);
            assert.equal(answer.headers?.get('early'), kind === 'headers' ? '1' : undefined);
          }
        },
      ),
  },
  {
    name: 'a call in one go answers as one by messages does',
    requires: 'unary',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          const first = await socket.recv();
          const text = textOf(first?.body ?? bytesOf(''));
          const status = {
            code: text === 'fail' ? Code.NotFound : Code.Ok,
            message: text === 'fail' ? 'gone' : '',
            metadata: new Metadata({ t: text }),
          };
          if (text === 'pieces') {
            void socket.send({ headers: new Metadata({ h: '1' }) });
            void socket.send({ body: bytesOf('reply') });
            void socket.send({ status });
          } else {
            const headers = first?.headers?.has('ask') ? new Metadata({ h: '1' }) : undefined;
            void socket.send({ headers, body: text === 'fail' ? undefined : bytesOf('reply'), status });
          }
        },
        async (fixture) => {
          for (const text of ['whole', 'pieces', 'fail']) {
            const message = { headers: new Metadata({ ask: '1' }), body: bytesOf(text) };
            const byMessages = await callUnary(fixture, message);
            const inOneGo = await fixture.unary({ ctx: contextWith() }, message);
            assert.deepEqual(inOneGo.body && textOf(inOneGo.body), byMessages.bodies[0], text);
            assert.equal(inOneGo.headers?.get('h'), byMessages.headers?.get('h'), text);
            assert.deepEqual(
              [inOneGo.status?.code, inOneGo.status?.message, inOneGo.status?.metadata?.get('t')],
              [byMessages.status?.code, byMessages.status?.message, text],
            );
          }
        },
      ),
  },
  {
    name: 'a unary method takes one message, neither none nor two',
    run: (options) => {
      let calls = 0;
      return withTransport(
        options,
        () => void (calls += 1),
        async (fixture) => {
          const none = fixture.dial(routes.unary);
          void none.send({ headers: new Metadata({ a: '1' }) });
          none.end();
          assert.equal(await codeOf(none), Code.Unimplemented, 'no message');
          const two = fixture.dial(routes.unary);
          void two.send({ body: bytesOf('1') });
          void two.send({ body: bytesOf('2') });
          two.end();
          assert.equal(await codeOf(two), Code.Unimplemented, 'two messages');
          assert.equal(calls, 0, 'the handler saw a call that was none');
        },
      );
    },
  },
  {
    name: 'a second reply to a unary call is refused',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          await requestsOf(socket);
          void socket.send({ body: bytesOf('1') });
          void socket.send({ body: bytesOf('2') });
          void socket.send({ status: okStatus });
        },
        async (fixture) => {
          const { error, status } = await callUnary(fixture, { body: bytesOf('') });
          assert.equal(error?.code ?? status?.code, Code.Internal);
        },
      ),
  },
  {
    name: 'an unknown method is answered with UNIMPLEMENTED, and a stranger learns nothing',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const socket = fixture.dial(routes.unary, { path: '/suite.Transport/Unray' });
        void socket.send({ body: bytesOf('x') });
        socket.end();
        const { status } = await answerOf(socket);
        assert.equal(status?.code, Code.Unimplemented);
        assert.match(status.message, /Unray/);
        assert.doesNotMatch(status.message, /Unary/);
      }),
  },
  {
    name: 'methods of similar names are told where that was asked for',
    requires: 'suggest',
    run: (options) =>
      withTransport(
        options,
        echo,
        async (fixture) => {
          const socket = fixture.dial(routes.unary, { path: '/suite.Transport/Unray' });
          void socket.send({ body: bytesOf('x') });
          socket.end();
          assert.match((await answerOf(socket)).status?.message ?? '', /Did you mean "\/suite.Transport\/Unary"\?/);
        },
        { suggest: true },
      ),
  },
  {
    name: 'a path that no route has is answered by the method that it is resolved to',
    requires: 'suggest',
    run: (options) =>
      withTransport(
        options,
        async (socket, called) => {
          assert.equal(called, routes.unary);
          await echo(socket, called);
        },
        async (fixture) => {
          const call = async (path: string): Promise<unknown> => {
            const socket = fixture.dial(routes.unary, { path });
            void socket.send({ body: bytesOf('x') });
            socket.end();
            return (await answerOf(socket)).status?.code;
          };
          assert.equal(await call('/any.Thing/Unary'), Code.Ok);
          assert.equal(await call('/any.Thing/Other'), Code.Unimplemented);
        },
        { resolve: (path) => (path.endsWith('/Unary') ? routes.unary : undefined) },
      ),
  },
  {
    name: 'an alias of a method is answered by the method',
    run: (options) =>
      withTransport(
        options,
        async (socket, called) => {
          assert.equal(called, routes.unary);
          await echo(socket, called);
        },
        async (fixture) => {
          const socket = fixture.dial(routes.unary, { path: '/suite.Old/Unary' });
          void socket.send({ body: bytesOf('old') });
          socket.end();
          assert.deepEqual((await answerOf(socket)).bodies, ['old']);
        },
      ),
  },
  {
    name: 'a message over the limit is refused, of the sender and of the receiver, and the next call goes well',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          const [size = ''] = await requestsOf(socket);
          void socket.send({ body: new Uint8Array(Number(size.trim())), status: okStatus });
        },
        async (fixture) => {
          const call = (text: string, more: object = {}) => {
            const socket = fixture.dial(routes.unary, more);
            void socket.send({ body: bytesOf(text) });
            socket.end();
            return codeOf(socket);
          };
          assert.equal(
            await call('10'.padEnd(2_000)),
            Code.ResourceExhausted,
            'a request over the limit of the server',
          );
          assert.equal(
            await call('10'.padEnd(500), { maxSendBytes: 100 }),
            Code.ResourceExhausted,
            'a request over the limit of the client',
          );
          assert.equal(await call('3000'), Code.ResourceExhausted, 'a reply over the limit of the server');
          assert.equal(
            await call('1500', { maxReceiveBytes: 1_000 }),
            Code.ResourceExhausted,
            'a reply over the limit of the client',
          );
          assert.equal(await call('1000', { maxReceiveBytes: 1_000 }), Code.Ok, 'a reply of just the limit');
          assert.equal(await call('10'.padEnd(1_000)), Code.Ok, 'a request of just the limit');
        },
        { maxReceiveBytes: 1_000, maxSendBytes: 2_000 },
      ),
  },
  {
    name: 'a thousand calls at once stay apart',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const texts = Array.from({ length: 1_000 }, (_, index) => `call ${index}`);
        const answers = await Promise.all(texts.map((text) => callUnary(fixture, { body: bytesOf(text) })));
        assert.deepEqual(
          answers.map(({ bodies }) => bodies[0]),
          texts,
        );
      }),
  },
  {
    name: 'a call in one go fails as one by messages does',
    requires: 'unary',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        assert.equal(await codeOf(fixture.unary({ path: '/suite.Transport/None' })), Code.Unimplemented);
        assert.equal(await codeOf(fixture.unary({ maxSendBytes: 0 })), Code.ResourceExhausted);
        const nowhere = fixture.transport.unary?.('nonsense', { body: bytesOf('x') }, { route: routes.unary });
        assertFailure(await failureOf(Promise.resolve(nowhere)), Code.InvalidArgument, 'transport.invalid_address');
        await fixture.listener.close();
        assertFailure(await failureOf(fixture.unary()), Code.Unavailable, 'transport.unreachable');
      }),
  },
];

function plain(value: MetadataValue | undefined): unknown {
  return value instanceof Uint8Array ? [...value] : value;
}

/** Sends metadata in the headers of a request and of its reply and in the trailers, and checks each that arrives. */
function metadataBothWays(
  options: TransportHarness,
  sent: () => Metadata,
  check: (metadata: Metadata | undefined, where: string) => void,
): Promise<void> {
  return withTransport(
    options,
    async (socket) => {
      check((await socket.recv())?.headers, 'request headers');
      void socket.send({
        headers: sent(),
        body: bytesOf(''),
        status: { code: Code.Ok, message: '', metadata: sent() },
      });
    },
    async (fixture) => {
      const answer = await callUnary(fixture, { headers: sent(), body: bytesOf('') });
      check(answer.headers, 'response headers');
      check(answer.status?.metadata, 'trailers');
    },
  );
}
