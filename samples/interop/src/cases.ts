import assert from 'node:assert/strict';

import { type CallOptions, type ClientOf, Code, Metadata, TenonError } from 'tenon';

import { Pushed } from './pushed.ts';
import {
  echoInitialKey,
  echoTrailingKey,
  type Payload,
  type SimpleRequest,
  type StreamingOutputCallRequest,
  type TestApi,
  type UnimplementedApi,
} from './testing-api.ts';

/** What a case calls. */
export interface Peer {
  readonly test: ClientOf<TestApi>;
  readonly unimplemented: ClientOf<UnimplementedApi>;
  /** Goes with every call: where to. */
  readonly to: Pick<CallOptions, 'address'>;
  /** The same peer over a connection of its own; `close` ends that. */
  readonly anew: () => Promise<Peer & { readonly close: () => Promise<void> }>;
  readonly soakIterations: number;
  /** Whether the reply that came last was compressed. */
  readonly wasCompressed: () => boolean | undefined;
}

/** A case of gRPC's public descriptions: it resolves if all holds that they say. */
export type Case = (peer: Peer) => Promise<void>;

const requestSizes = [27_182, 8, 1_828, 45_904];
const responseSizes = [31_415, 9, 2_653, 58_979];
const largeRequest = 271_828;
const largeResponse = 314_159;

/** Every case, by its name there. */
export const cases: Readonly<Record<string, Case>> = {
  empty_unary: async ({ test, to }) => {
    assert.deepEqual(await test.emptyCall({}, to), {});
  },

  large_unary: ({ test, to }) => largeUnary(test, to),

  client_compressed_unary_noprobe: clientCompressedUnary,

  client_compressed_unary: async (peer) => {
    const probe = { ...largeRequestOf(largeResponse), expectCompressed: { value: true } };
    await fails(peer.test.unaryCall(probe, peer.to), Code.InvalidArgument);
    await clientCompressedUnary(peer);
  },

  server_compressed_unary: async ({ test, to, wasCompressed }) => {
    for (const value of [true, false]) {
      const request = { ...largeRequestOf(largeResponse), responseCompressed: { value } };
      expectPayload((await test.unaryCall(request, to)).payload, largeResponse);
      assert.equal(wasCompressed(), value);
    }
  },

  client_streaming: async ({ test, to }) => {
    const requests = requestSizes.map((size) => ({ payload: zeros(size) }));
    const { aggregatedPayloadSize } = await test.streamingInputCall(requests, to);
    assert.equal(aggregatedPayloadSize, 74_922);
  },

  server_streaming: async ({ test, to }) => {
    const responseParameters = responseSizes.map((size) => ({ size }));
    await expectPayloads(test.streamingOutputCall({ responseParameters }, to), responseSizes);
  },

  server_compressed_streaming: async ({ test, to, wasCompressed }) => {
    const responseParameters = [
      { compressed: { value: true }, size: 31_415 },
      { compressed: { value: false }, size: 92_653 },
    ];
    const seen: unknown[] = [];
    const replies = test.streamingOutputCall({ responseParameters }, to);
    await expectPayloads(replies, [31_415, 92_653], () => seen.push(wasCompressed()));
    assert.deepEqual(seen, [true, false]);
  },

  ping_pong: async ({ test, to }) => {
    const requests = new Pushed<StreamingOutputCallRequest>();
    const replies = test.fullDuplexCall(requests, to)[Symbol.asyncIterator]();
    for (const [index, size] of requestSizes.entries()) {
      const expected = responseSizes[index] as number;
      requests.push({ payload: zeros(size), responseParameters: [{ size: expected }] });
      const { value, done } = await replies.next();
      assert.ok(done !== true, `the call ended after ${index} replies`);
      expectPayload(value.payload, expected);
    }
    requests.end();
    assert.equal((await replies.next()).done, true);
  },

  empty_stream: async ({ test, to }) => {
    await expectPayloads(test.fullDuplexCall([], to), []);
  },

  timeout_on_sleeping_server: async ({ test, to }) => {
    const requests = new Pushed<StreamingOutputCallRequest>();
    requests.push({ payload: zeros(27_182), responseParameters: [{ size: 31_415, intervalUs: 5_000_000 }] });
    await fails(drain(test.fullDuplexCall(requests, { ...to, timeoutMs: 1 })), Code.DeadlineExceeded);
  },

  cancel_after_begin: async ({ test, to }) => {
    const abort = new AbortController();
    const call = test.streamingInputCall(new Pushed<never>(), { ...to, signal: abort.signal });
    const failure = fails(call, Code.Cancelled);
    setImmediate(() => abort.abort());
    await failure;
  },

  cancel_after_first_response: async ({ test, to }) => {
    const abort = new AbortController();
    const requests = new Pushed<StreamingOutputCallRequest>();
    requests.push({ payload: zeros(27_182), responseParameters: [{ size: 31_415 }] });
    const replies = test.fullDuplexCall(requests, { ...to, signal: abort.signal })[Symbol.asyncIterator]();
    expectPayload((await replies.next()).value?.payload, 31_415);
    abort.abort();
    await fails(replies.next(), Code.Cancelled);
  },

  status_code_and_message: async ({ test, to }) => {
    const responseStatus = { code: Code.Unknown, message: 'test status message' };
    await fails(test.unaryCall({ responseStatus }, to), Code.Unknown, responseStatus.message);
    await fails(drain(test.fullDuplexCall([{ responseStatus }], to)), Code.Unknown, responseStatus.message);
  },

  special_status_message: async ({ test, to }) => {
    const message = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';
    await fails(test.unaryCall({ responseStatus: { code: Code.Unknown, message } }, to), Code.Unknown, message);
  },

  unimplemented_method: async ({ test, to }) => {
    await fails(test.unimplementedCall({}, to), Code.Unimplemented);
  },

  unimplemented_service: async ({ unimplemented, to }) => {
    await fails(unimplemented.unimplementedCall({}, to), Code.Unimplemented);
  },

  custom_metadata: async ({ test, to }) => {
    const trailing = Uint8Array.of(0xab, 0xab, 0xab);
    const metadata = { [echoInitialKey]: 'test_initial_metadata_value', [echoTrailingKey]: trailing };
    const seen = new Echoed();
    const options = { ...to, metadata, onHeaders: seen.onHeaders, onTrailers: seen.onTrailers };
    expectPayload((await test.unaryCall(largeRequestOf(largeResponse), options)).payload, largeResponse);
    seen.check(trailing);
    const request = { payload: zeros(largeRequest), responseParameters: [{ size: largeResponse }] };
    await expectPayloads(test.fullDuplexCall([request], options), [largeResponse]);
    seen.check(trailing);
  },

  rpc_soak: async ({ test, to, soakIterations }) => {
    for (let iteration = 0; iteration < soakIterations; iteration += 1) await largeUnary(test, to);
  },

  channel_soak: async ({ anew, soakIterations }) => {
    for (let iteration = 0; iteration < soakIterations; iteration += 1) {
      const peer = await anew();
      try {
        await largeUnary(peer.test, peer.to);
      } finally {
        await peer.close();
      }
    }
  },
};

async function largeUnary(test: ClientOf<TestApi>, options: CallOptions): Promise<void> {
  expectPayload((await test.unaryCall(largeRequestOf(largeResponse), options)).payload, largeResponse);
}

async function clientCompressedUnary({ test, to }: Peer): Promise<void> {
  for (const value of [true, false]) {
    const request = { ...largeRequestOf(largeResponse), expectCompressed: { value } };
    expectPayload((await test.unaryCall(request, { ...to, compress: value })).payload, largeResponse);
  }
}

function largeRequestOf(responseSize: number): SimpleRequest {
  return { responseSize, payload: zeros(largeRequest) };
}

function zeros(size: number): Payload {
  return { body: new Uint8Array(size) };
}

function expectPayload(payload: Payload | undefined, size: number): void {
  assert.equal(payload?.type, 'COMPRESSABLE');
  assert.equal(payload.body.length, size);
  assert.ok(
    payload.body.every((byte) => byte === 0),
    'the payload has bytes other than zero',
  );
}

async function expectPayloads(
  replies: AsyncIterable<{ readonly payload?: Payload | undefined }>,
  sizes: readonly number[],
  look?: () => unknown,
): Promise<void> {
  const rest = [...sizes];
  for await (const { payload } of replies) {
    const size = rest.shift();
    assert.ok(size !== undefined, `more than ${sizes.length} replies came`);
    expectPayload(payload, size);
    look?.();
  }
  assert.deepEqual(rest, [], 'replies are missing');
}

async function drain(replies: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of replies);
}

/** What the peer sent beside its replies. */
class Echoed {
  #headers: Metadata | undefined;
  #trailers: Metadata | undefined;
  readonly onHeaders = (headers: Metadata): void => void (this.#headers = headers);
  readonly onTrailers = (trailers: Metadata): void => void (this.#trailers = trailers);

  /** Whether both came, and once; then forgets them. */
  check(trailing: Uint8Array): void {
    assert.deepEqual(this.#headers?.getAll(echoInitialKey), ['test_initial_metadata_value']);
    assert.deepEqual(this.#trailers?.getAll(echoTrailingKey).map(hex), [hex(trailing)]);
    this.#headers = undefined;
    this.#trailers = undefined;
  }
}

function hex(value: string | Uint8Array): string {
  return Buffer.from(value).toString('hex');
}

/** The call has to fail, with that code, and that message if one is given. */
async function fails(call: Promise<unknown>, code: Code, message?: string): Promise<void> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(TenonError.is(error), `it should have failed with code ${code}, and did not`);
  assert.equal(error.code, code, String(error));
  if (message !== undefined) assert.equal(error.message, message);
}
