import { callOf, callWith, exchange, good, type HostileCase, message, paths } from '../support/cases.ts';
import { data, Flag, frame, FrameType, headers, hpack, request } from '../support/http2-peer.ts';

const { unary, bidi, json } = paths;
const text = Buffer.from('0a0161', 'hex');

function one(name: string, sees: RegExp, attack: HostileCase['attack'], except?: HostileCase['except']): HostileCase {
  return { name, sees, attack, except };
}

function changed(
  name: string,
  sees: RegExp,
  change: Readonly<Record<string, string | Uint8Array | undefined>>,
  except?: HostileCase['except'],
): HostileCase {
  return one(name, sees, exchange(...callWith(unary, good, change)), except);
}

const broken = /^reset 1$|^goaway 1$|^closed$/;
// A table of HPACK that is out of step is of no use to any later head (RFC 9113, section 4.3).
const outOfStep = /^goaway [19]$|^closed$/;
const anyEnd = /^status \d+$|^http \S+$|^reset \d+$|^goaway \d+$|^closed$/;

/** Heads of requests that are wrong in HTTP/2, in HTTP or in gRPC. */
export const headCases: readonly HostileCase[] = [
  changed('no path', broken, { ':path': undefined }),
  changed('an empty path', anyEnd, { ':path': '' }),
  changed('a path without a slash', /^status 12$|^reset 1$/, { ':path': 'hostile.Echo.Unary' }),
  changed('a path of a slash', /^status 12$/, { ':path': '/' }),
  changed('a path that nobody knows', /^status 12$/, { ':path': '/hostile.Echo/Nothing' }),
  changed('a path with percents', /^status 12$/, { ':path': '/hostile%2eEcho/Unary%00%zz' }),
  changed('a path with a query', /^status 12$/, { ':path': `${unary}?a=b` }),
  changed('a path of Unicode', anyEnd, { ':path': Buffer.from('/hostile.Écho/Ünary😀') }),
  changed('a path of bytes that are no UTF-8', anyEnd, { ':path': Buffer.from('2ffffe2fc328', 'hex') }),
  changed('a path with NUL', anyEnd, { ':path': '/a\0/b' }),
  changed('a path with a line break', anyEnd, { ':path': '/a\r\nx: y/b' }),
  changed('a path of sixty kilobytes', anyEnd, { ':path': `/${'a'.repeat(14_000)}/b` }),
  changed('a path of a prototype', /^status 12$/, { ':path': '/__proto__/constructor' }),
  changed(
    'GET',
    /^http 405$|^status \d+$/,
    { ':method': 'GET' },
    {
      'grpc-js': { sees: /^status 0$/, reason: 'grpc-js does not look at the method' },
    },
  ),
  changed('HEAD', anyEnd, { ':method': 'HEAD' }),
  changed('CONNECT', anyEnd, { ':method': 'CONNECT' }),
  changed('a method of garbage', anyEnd, { ':method': '\x7f(){}' }),
  changed('no method', broken, { ':method': undefined }),
  changed('no scheme', broken, { ':scheme': undefined }),
  changed('a scheme of garbage', anyEnd, { ':scheme': 'gopher;' }),
  changed('no authority', /^status 0$|^reset 1$/, { ':authority': undefined }),
  changed('an authority of garbage', anyEnd, { ':authority': 'a b@c:99999999/' }),
  changed('no content type', /^http 415$/, { 'content-type': undefined }),
  changed('a content type of JSON', /^http 415$/, { 'content-type': 'application/json' }),
  changed(
    'a content type of gRPC-Web',
    /^http 415$/,
    { 'content-type': 'application/grpc-web' },
    {
      'grpc-js': {
        sees: /^status 0$/,
        reason: 'grpc-js asks for no more than that the type begins with application/grpc',
      },
    },
  ),
  changed('a content type whose codec nobody knows', /^status (0|12)$/, { 'content-type': 'application/grpc+nothing' }),
  changed('an x-content-type whose codec nobody knows', /^status (0|12)$/, { 'x-content-type': 'application/nothing' }),
  changed('an x-content-type of __proto__', /^status (0|12)$/, { 'x-content-type': 'application/grpc+__proto__' }),
  changed('no te', /^status \d+$/, { te: undefined }),
  changed('a te of gzip', anyEnd, { te: 'gzip' }),
  one('a pseudo header twice', broken, exchange(...callOf([...request(unary), [':path', unary]]))),
  one('a pseudo header behind another', broken, exchange(...callOf([...request(unary).slice(1), [':method', 'POST']]))),
  one('a pseudo header that does not exist', broken, exchange(...callOf([[':nothing', 'x'], ...request(unary)]))),
  one('a pseudo header of answers', broken, exchange(...callOf([[':status', '200'], ...request(unary)]))),
  one('a name in upper case', broken, exchange(...callOf([...request(unary), ['X-Upper', 'x']]))),
  one('a name with a space', anyEnd, exchange(...callOf([...request(unary), ['a b', 'x']]))),
  one('an empty name', anyEnd, exchange(...callOf([...request(unary), ['', 'x']]))),
  one('a value with NUL', anyEnd, exchange(...callOf([...request(unary), ['x-nul', 'a\0b']]))),
  one('a value with a line break', anyEnd, exchange(...callOf([...request(unary), ['x-line', 'a\r\nb: c']]))),
  one(
    'a value that is no ASCII',
    /^status \d+$|^reset 1$/,
    exchange(...callOf([...request(unary), ['x-text', Buffer.from('ünï')]])),
  ),
  one('a connection header', broken, exchange(...callOf([...request(unary), ['connection', 'close']]))),
  one('a transfer encoding', broken, exchange(...callOf([...request(unary), ['transfer-encoding', 'chunked']]))),
  one('a content length that is short', broken, exchange(...callOf([...request(unary), ['content-length', '1']]))),
  one('a content length that is negative', broken, exchange(...callOf([...request(unary), ['content-length', '-1']]))),
  one(
    'a content length twice',
    broken,
    exchange(...callOf([...request(unary), ['content-length', '8'], ['content-length', '9']])),
  ),
  one(
    'a name of __proto__',
    /^status 0$/,
    exchange(...callOf([...request(unary), ['__proto__', 'x'], ['constructor', 'y']])),
  ),
  changed('bytes that are no base64', /^status 0$/, { 'x-bad-bin': '!!!,===,\\' }),
  changed('a time-out of letters', /^status 13$/, { 'grpc-timeout': 'soon' }),
  changed(
    'an empty time-out',
    /^status 13$/,
    { 'grpc-timeout': '' },
    {
      'grpc-js': { sees: /^status (0|13)$/, reason: 'grpc-js reads it before we do' },
    },
  ),
  changed(
    'a time-out that is negative',
    /^status (13|4)$/,
    { 'grpc-timeout': '-5S' },
    {
      'grpc-js': { sees: /^status (0|13)$/, reason: 'grpc-js finds a number anywhere in the text' },
    },
  ),
  changed('a time-out of zero', /^status (4|0)$/, { 'grpc-timeout': '0n' }),
  changed(
    'a time-out of nine digits',
    /^status (13|0)$/,
    { 'grpc-timeout': '999999999S' },
    {
      'grpc-js': {
        sees: /^status (0|4|13)$/,
        reason: 'grpc-js finds eight digits anywhere in the text, and overflows',
      },
    },
  ),
  changed(
    'the longest time-out',
    /^status 0$/,
    { 'grpc-timeout': '99999999H' },
    {
      'grpc-js': { sees: /^status (0|4)$/, reason: 'a timer of grpc-js overflows beyond 24 days' },
    },
  ),
  changed('a time-out without a unit', /^status 13$/, { 'grpc-timeout': '100' }),
  one(
    'a time-out twice',
    /^status \d+$|^reset 1$/,
    exchange(...callOf([...request(unary), ['grpc-timeout', '1S'], ['grpc-timeout', '2S']])),
  ),
  one(
    'hundreds of fields',
    anyEnd,
    exchange(...callOf([...request(unary), ...Array.from({ length: 400 }, (_, n) => [`x-${n}`, 'y'] as const)])),
  ),
  one(
    'a head of 256 KiB, continued',
    anyEnd,
    exchange(...continued(Array.from({ length: 16 }, (_, n) => [`x-${n}`, 'y'.repeat(16_000)] as const))),
  ),
  {
    name: 'a head of 4 MiB, continued',
    sees: anyEnd,
    attack: exchange(...continued(Array.from({ length: 256 }, (_, n) => [`x-${n}`, 'y'.repeat(16_000)] as const))),
    isHeavy: true,
  },
  { name: 'a head without end', sees: anyEnd, attack: endless, isHeavy: true },
  one(
    'a head that points into nothing',
    outOfStep,
    exchange(frame(FrameType.Headers, Flag.EndHeaders, 1, Buffer.of(0xff, 0xff, 0xff, 0x0f))),
  ),
  one(
    'a head that points behind the table',
    outOfStep,
    exchange(frame(FrameType.Headers, Flag.EndHeaders, 1, Buffer.of(0xfe))),
  ),
  one(
    'a head that is cut off',
    outOfStep,
    exchange(frame(FrameType.Headers, Flag.EndHeaders, 1, hpack(request(unary)).subarray(0, -3))),
  ),
  one(
    'a head with Huffman garbage',
    outOfStep,
    exchange(frame(FrameType.Headers, Flag.EndHeaders, 1, Buffer.from('0084ffffffff84ffffffff', 'hex'))),
  ),
  one(
    'a table that grows beyond what was agreed',
    outOfStep,
    exchange(frame(FrameType.Headers, Flag.EndHeaders, 1, Buffer.from('3fffffff7f', 'hex'))),
  ),
  one('a bomb of table entries', anyEnd, exchange(frame(FrameType.Headers, Flag.EndHeaders, 1, bomb()))),
  one(
    'an integer without end',
    outOfStep,
    exchange(frame(FrameType.Headers, Flag.EndHeaders, 1, Buffer.concat([Buffer.of(0, 0x7f), Buffer.alloc(30, 0xff)]))),
  ),
  one('an empty head', broken, exchange(frame(FrameType.Headers, Flag.EndHeaders | Flag.EndStream, 1))),
  one(
    'trailers from the client',
    /^status \d+$|^reset 1$|^goaway 1$/,
    exchange(headers(1, request(unary)), data(1, good), headers(1, [['x-after', 'y']], true)),
  ),
  one(
    'trailers that do not end',
    broken,
    exchange(headers(1, request(bidi)), data(1, good), headers(1, [['x-after', 'y']])),
  ),
  one(
    'trailers with a pseudo header',
    broken,
    exchange(headers(1, request(unary)), data(1, good), headers(1, [[':path', '/']], true)),
  ),
  one('a second head', broken, exchange(headers(1, request(bidi)), headers(1, request(bidi)))),
  one("an x-content-type beside another codec's body", /^status 3$/, exchange(...callWith(json, message(text)))),
];

/** A head in CONTINUATION frames, and a body. */
function continued(more: readonly (readonly [string, string])[]): Uint8Array[] {
  const block = hpack([...request(unary), ...more]);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < block.length; at += 16_000) {
    const isLast = at + 16_000 >= block.length;
    parts.push(
      frame(
        at === 0 ? FrameType.Headers : FrameType.Continuation,
        isLast ? Flag.EndHeaders : 0,
        1,
        block.subarray(at, at + 16_000),
      ),
    );
  }
  return [...parts, data(1, good, true)];
}

/** CVE-2024-27316: frames that continue a head for ever. */
async function endless(target: Parameters<HostileCase['attack']>[0]): Promise<string> {
  const peer = await target.open();
  peer.write(frame(FrameType.Headers, 0, 1, hpack(request(unary))));
  const more = hpack([['x-more', 'y'.repeat(16_000)]]);
  for (let n = 0; n < 5_000 && !peer.isClosed; n += 1) {
    if (!peer.write(frame(FrameType.Continuation, 0, 1, more)))
      await Promise.race([new Promise((resolve) => peer.socket.once('drain', resolve)), peer.closed]);
    if (peer.frames.some(({ type }) => type === FrameType.GoAway)) break;
  }
  return peer.outcome();
}

/** One entry of 4 KB in the table, referred to thousands of times: 16 KB on the wire that stand for 50 MB. */
function bomb(): Buffer {
  const value = 'z'.repeat(4_000);
  const entry = Buffer.concat([
    Buffer.of(0x40, 1),
    Buffer.from('x'),
    Buffer.of(0x7f, ...sevenBits(value.length - 127)),
    Buffer.from(value),
  ]);
  return Buffer.concat([hpack(request(unary)), entry, Buffer.alloc(12_000, 0x80 + 62)]);
}

function sevenBits(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return [...bytes, rest];
}
