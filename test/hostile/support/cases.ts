import {
  connectTo,
  type Field,
  FrameType,
  headers,
  data,
  Http2Peer,
  preface,
  request,
  settings,
  windowUpdate,
} from './http2-peer.ts';

/** The transports of gRPC. */
export const engines = ['grpc-js', 'grpc'] as const;
/** One of {@link engines}. */
export type Engine = (typeof engines)[number];

/** Where a bad peer connects to. Its connections are closed when its case is over. */
export interface Target {
  readonly address: string;
  /** A connection on which nothing was said yet. */
  connect(acknowledges?: boolean): Promise<Http2Peer>;
  /** A connection with the client's preface and settings said. */
  open(...said: readonly (readonly [id: number, value: number])[]): Promise<Http2Peer>;
}

/** A malformed or hostile exchange. */
export interface HostileCase {
  readonly name: string;
  /** Resolves with what the peer saw, in the words of `Http2Peer.outcome`, or with nothing where that is no matter. */
  attack(target: Target): Promise<string | undefined>;
  /** What the peer must see. @default anything */
  readonly sees?: RegExp | undefined;
  /** Where an engine does otherwise: what is seen then, and why that stays so. */
  readonly except?: Readonly<Partial<Record<Engine, { readonly sees: RegExp; readonly reason: string }>>> | undefined;
  /** It is thousands of something by itself, so that it is repeated less often. @default false */
  readonly isHeavy?: boolean | undefined;
}

const plenty = 0x3f_ff_ff_ff;

/** Sends `bytes` behind the preface, and tells how stream 1 ended. */
export function exchange(...bytes: readonly Uint8Array[]): HostileCase['attack'] {
  return async (target) => {
    const peer = await target.open([4, plenty]);
    peer.write(windowUpdate(0, plenty));
    for (const part of bytes) {
      // What is larger than the window must wait for it, or it is the window that is hurt.
      if (bytes.length > 3 && part[3] === FrameType.Data) await peer.room(part.length - 9);
      peer.write(part);
    }
    return peer.outcome();
  };
}

/** A whole call on stream 1: a good head, but for `change`, and a body. */
export function callWith(
  path: string,
  body: Uint8Array | undefined,
  change: Readonly<Record<string, string | Uint8Array | undefined>> = {},
): Uint8Array[] {
  const head = headers(1, request(path, change), body === undefined);
  return body === undefined ? [head] : [head, ...chunked(body)];
}

/** A whole call whose head is exactly `fields`. */
export function callOf(
  fields: readonly Field[],
  body: Uint8Array = message(Buffer.from('0a0161', 'hex')),
): Uint8Array[] {
  return [headers(1, fields), data(1, body, true)];
}

/** In frames of no more than every peer takes. */
function chunked(body: Uint8Array): Uint8Array[] {
  const size = 16_384;
  const frames: Uint8Array[] = [];
  for (let at = 0; at < body.length; at += size)
    frames.push(data(1, body.subarray(at, at + size), at + size >= body.length));
  return frames.length > 0 ? frames : [data(1, body, true)];
}

/** A message behind gRPC's prefix, of which both parts may lie. */
export function message(body: Uint8Array, flag = 0, length = body.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, body]);
}

/** A protobuf message that the service takes. */
export const good = message(Buffer.from('0a0161', 'hex'));

/** The methods of the service, by their kind or what they do. */
export const paths = {
  unary: '/hostile.Echo/Unary',
  server: '/hostile.Echo/Server',
  client: '/hostile.Echo/Client',
  bidi: '/hostile.Echo/Bidi',
  hold: '/hostile.Echo/Hold',
  flood: '/hostile.Echo/Flood',
  deaf: '/hostile.Echo/Deaf',
  json: '/hostile.Json/Unary',
} as const;

/** Runs an attack, and closes its connections. */
export async function run(hostile: HostileCase, address: string): Promise<string | undefined> {
  const peers: Http2Peer[] = [];
  const seen = [hostile.sees, ...Object.values(hostile.except ?? {}).map(({ sees }) => sees)];
  // Where something must be seen a busy service is waited for; where nothing may be, that is not known before some time
  // has passed.
  const isPatient = seen.every((sees) => sees && !sees.test('nothing'));
  const connect = async (acknowledges?: boolean): Promise<Http2Peer> => {
    const peer = await connectTo(address, acknowledges);
    if (isPatient) peer.patienceMs = 30_000;
    peers.push(peer);
    return peer;
  };
  const open: Target['open'] = async (...said) => {
    const peer = await connect(true);
    // Without a table of heads, every answer says in full how it ends.
    peer.write(preface, settings([1, 0], ...said));
    return peer;
  };
  try {
    return await hostile.attack({ address, connect, open });
  } finally {
    for (const peer of peers) peer.destroy();
  }
}
