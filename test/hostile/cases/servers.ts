import { gzipSync } from 'node:zlib';

import { Code } from '../../../src/errors/errors.ts';
import { message } from '../support/cases.ts';
import { type Answering, answer, type Behave, head, reply, trailers } from '../support/bad-server.ts';
import {
  data,
  Flag,
  frame,
  FrameType,
  goAway,
  hpack,
  reset,
  settings,
  uint32,
  windowUpdate,
} from '../support/http2-peer.ts';

/** An answer that breaks the rules. */
export interface BadAnswer {
  readonly name: string;
  readonly behave: Behave;
  /** With what the call may end; OK stands for an answer that is taken. */
  readonly codes: readonly Code[];
  /** The connection is spoiled for other calls. @default false */
  readonly isLast?: boolean;
}

const { Ok, Cancelled, Unknown, DeadlineExceeded, Unimplemented, PermissionDenied, Unauthenticated } = Code;
const { ResourceExhausted, Internal, Unavailable, FailedPrecondition, DataLoss, InvalidArgument } = Code;
/** What a call may end with whose answer makes no sense. */
const nonsense = [Unknown, Internal, Unavailable, DataLoss, Unimplemented];
const gone = [Unavailable, Internal, Cancelled];
/** Node 20 may forget the connection, and says nothing to its calls. */
const forgotten = [...gone, DeadlineExceeded];

function ends(name: string, change: Record<string, string | undefined>, codes: readonly Code[]): BadAnswer {
  return {
    name,
    codes,
    behave: ({ stream, write }) => write(head(stream), data(stream, reply), trailers(stream, change)),
  };
}

function begins(name: string, change: Record<string, string | undefined>, codes: readonly Code[]): BadAnswer {
  return {
    name,
    codes,
    behave: ({ stream, write }) => write(head(stream, change), data(stream, reply), trailers(stream)),
  };
}

/** Trailers alone, as errors are sent. */
function fails(name: string, change: Record<string, string | undefined>, codes: readonly Code[]): BadAnswer {
  return { name, codes, behave: ({ stream, write }) => write(head(stream, { 'grpc-status': '9', ...change }, true)) };
}

function sends(name: string, codes: readonly Code[], body: Uint8Array, change: Record<string, string> = {}): BadAnswer {
  return {
    name,
    codes,
    behave: ({ stream, write }) => {
      const frames: Uint8Array[] = [];
      for (let at = 0; at < body.length; at += 16_384) frames.push(data(stream, body.subarray(at, at + 16_384)));
      write(head(stream, change), ...frames, trailers(stream));
    },
  };
}

function does(name: string, codes: readonly Code[], behave: Behave, isLast = true): BadAnswer {
  return { name, codes, behave, isLast };
}

/** Each place of an answer, and what was said until then. */
const phases: readonly (readonly [name: string, bytes: (stream: number) => Uint8Array[]])[] = [
  ['before the head', () => []],
  ['amid the head', (stream) => [frame(FrameType.Headers, 0, stream, hpack([[':status', '200']]))]],
  ['behind the head', (stream) => [head(stream)]],
  ['amid a message', (stream) => [head(stream), data(stream, reply.subarray(0, 6))]],
  ['behind a message', (stream) => [head(stream), data(stream, reply)]],
];

/** Answers of servers that are broken, hostile or no gRPC. */
export const badAnswers: readonly BadAnswer[] = [
  begins('a content type of HTML', { 'content-type': 'text/html' }, nonsense),
  begins('no content type', { 'content-type': undefined }, [Ok, ...nonsense]),
  begins('a status of HTTP that is no number', { ':status': 'abc' }, gone),
  begins('no status of HTTP', { ':status': undefined }, gone),
  begins('an encoding that nobody knows', { 'grpc-encoding': 'zip9' }, [Ok, Internal, Unimplemented]),
  begins('a name in upper case', { 'X-Upper': 'x' }, gone),
  begins('bytes that are no base64', { 'x-bad-bin': '!!!' }, [Ok]),
  begins('a value that is no ASCII', { 'x-text': 'ünï' }, [Ok, Internal]),
  begins('a name of __proto__', { __proto__x: 'x', ['__proto__']: 'y' }, [Ok]),
  ...[
    [400, Internal],
    [401, Unauthenticated],
    [403, PermissionDenied],
    [404, Unimplemented],
    [429, Unavailable],
    [500, Unknown],
    [502, Unavailable],
    [503, Unavailable],
  ].map(([status, code]) => ({
    name: `a page with the status ${String(status)}`,
    codes: [code as Code],
    behave: ({ stream, write }: Answering) =>
      write(
        head(stream, { ':status': String(status), 'content-type': 'text/html' }),
        data(stream, Buffer.from('<html>'), true),
      ),
  })),
  ends('no grpc-status', { 'grpc-status': undefined, 'x-other': 'y' }, nonsense),
  ends('an empty grpc-status', { 'grpc-status': '' }, [Ok, ...nonsense]),
  ends('a grpc-status of 17', { 'grpc-status': '17' }, [Unknown]),
  ends('a grpc-status of -1', { 'grpc-status': '-1' }, [Unknown]),
  ends('a grpc-status of letters', { 'grpc-status': 'OK' }, [Unknown]),
  ends('a grpc-status of a million', { 'grpc-status': '1000000' }, [Unknown]),
  ends('a grpc-status with a fraction', { 'grpc-status': '0.5' }, [Unknown, Ok]),
  fails('a message with broken percents', { 'grpc-message': '%zz%e2%28%a1%' }, [FailedPrecondition]),
  fails('a message of bytes that are no UTF-8', { 'grpc-message': '%ff%fe' }, [FailedPrecondition]),
  fails('a message of 10 KiB', { 'grpc-message': 'x'.repeat(10_000) }, [
    FailedPrecondition,
    ResourceExhausted,
    Internal,
  ]),
  fails('details that are no base64', { 'grpc-status-details-bin': '!!!' }, [FailedPrecondition]),
  fails('details that are no Status', { 'grpc-status-details-bin': '////' }, [FailedPrecondition]),
  fails('details of another code', { 'grpc-status-details-bin': 'CAU' }, [FailedPrecondition]),
  fails('a reason of nonsense', { 'tenon-reason': '\\"<script>' }, [FailedPrecondition]),
  fails('a retry-after of letters', { 'grpc-retry-pushback-ms': 'soon' }, [FailedPrecondition]),
  sends('a message that is larger than allowed', [ResourceExhausted], message(Buffer.alloc(8), 0, 5 * 1024 * 1024)),
  sends('a message of four gigabytes', [ResourceExhausted], message(Buffer.alloc(8), 0, 0xff_ff_ff_ff)),
  sends('a bomb of gzip', [ResourceExhausted], message(gzipSync(Buffer.alloc(16 * 1024 * 1024)), 1), {
    'grpc-encoding': 'gzip',
  }),
  sends('gzip that is none', [Internal, Unknown, InvalidArgument], message(Buffer.from('no gzip'), 1), {
    'grpc-encoding': 'gzip',
  }),
  sends('a message that ends in its middle', [Ok, ...nonsense], message(Buffer.from('abc'), 0, 100)),
  sends('half a prefix', [Ok, ...nonsense], Buffer.of(0, 0)),
  sends('a message that does not decode', [Internal, InvalidArgument], message(Buffer.from('0a7f61', 'hex'))),
  sends('nothing at all', [Ok, Internal, Unimplemented], Buffer.alloc(0)),
  sends('two messages', [Ok, Internal, Unimplemented], Buffer.concat([reply, reply])),
  does('a flood of messages', [Ok, Internal, Unimplemented, ResourceExhausted], ({ stream, write }) => {
    write(head(stream), ...Array<Buffer>(2_000).fill(data(stream, reply)), trailers(stream));
  }),
  does('data before the head', forgotten, ({ stream, write }) =>
    write(data(stream, reply), head(stream), trailers(stream)),
  ),
  does('two heads', [Ok, ...forgotten, Unknown], ({ stream, write }) =>
    write(head(stream), head(stream), trailers(stream)),
  ),
  does('an end behind the end', [Ok, ...forgotten], (call) => {
    answer(call);
    call.write(data(call.stream, reply), trailers(call.stream));
  }),
  does('an answer to a call that was never made', [DeadlineExceeded, ...gone], ({ write }) =>
    write(head(99), trailers(99)),
  ),
  does('a hundred answers of 100', [DeadlineExceeded, Ok, ...gone], ({ stream, write }) =>
    write(...Array<Buffer>(100).fill(frame(FrameType.Headers, Flag.EndHeaders, stream, hpack([[':status', '100']])))),
  ),
  does('a head without end', [DeadlineExceeded, ResourceExhausted, ...gone], ({ stream, write }) => {
    write(frame(FrameType.Headers, 0, stream, hpack([[':status', '200']])));
    const more = frame(FrameType.Continuation, 0, stream, hpack([['x-more', 'y'.repeat(16_000)]]));
    for (let n = 0; n < 50; n += 1) write(more);
  }),
  does('a head that points into nothing', [DeadlineExceeded, ...gone], ({ stream, write }) =>
    write(frame(FrameType.Headers, Flag.EndHeaders, stream, Buffer.of(0xff, 0xff, 0xff, 0x0f))),
  ),
  does('a promise', [DeadlineExceeded, ...gone], ({ stream, write }) =>
    write(frame(FrameType.Push, Flag.EndHeaders, stream, Buffer.concat([uint32(2), hpack([[':path', '/']])]))),
  ),
  does('garbage', [DeadlineExceeded, ...gone], ({ write }) => write(Buffer.alloc(500, 0xff))),
  does('HTTP/1.1', [DeadlineExceeded, ...gone], ({ write }) =>
    write(Buffer.from('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')),
  ),
  does('a window beyond 2³¹', [DeadlineExceeded, ...gone], ({ stream, write }) =>
    write(windowUpdate(stream, 0x7f_ff_ff_ff), windowUpdate(stream, 0x7f_ff_ff_ff)),
  ),
  does('settings of five bytes', [DeadlineExceeded, ...gone], ({ write }) =>
    write(frame(FrameType.Settings, 0, 0, Buffer.alloc(5))),
  ),
  does('a flood of settings', [DeadlineExceeded, ...gone], ({ write }) =>
    write(...Array<Buffer>(2_000).fill(settings())),
  ),
  does('a flood of pings', [DeadlineExceeded, ...gone], ({ write }) =>
    write(...Array<Buffer>(5_000).fill(frame(FrameType.Ping, 0, 0, Buffer.alloc(8)))),
  ),
  does('no answer', [DeadlineExceeded], () => {}, false),
  does('a head, and no more', [DeadlineExceeded], ({ stream, write }) => write(head(stream)), false),
  ...phases.flatMap(([phase, bytes]) => [
    does(`a farewell ${phase}, and a cut`, [...forgotten, Ok], ({ stream, write, socket }) => {
      write(...bytes(stream), goAway(stream));
      socket.end();
    }),
    does(`a farewell of an error ${phase}`, [ResourceExhausted, ...forgotten], ({ stream, write }) =>
      write(...bytes(stream), goAway(0, 11)),
    ),
    does(`a cut ${phase}`, forgotten, ({ stream, write, socket }) => {
      write(...bytes(stream));
      socket.destroySoon();
    }),
    does(`a reset of the connection ${phase}`, forgotten, ({ stream, write, socket }) => {
      write(...bytes(stream));
      setTimeout(() => socket.resetAndDestroy(), 5);
    }),
  ]),
  ...[0, 1, 2, 7, 8, 11, 12, 99].flatMap((code) =>
    phases
      .filter(([phase]) => phase !== 'amid the head')
      .map(([phase, bytes]) =>
        does(
          `a reset with ${code} ${phase}`,
          [Cancelled, Internal, Unavailable, ResourceExhausted, PermissionDenied, Unknown],
          ({ stream, write }) => write(...bytes(stream), reset(stream, code)),
          false,
        ),
      ),
  ),
];
