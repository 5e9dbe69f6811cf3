import { Code, type Context, errorInfo, Handler, Metadata, Rpc, Service, TenonError } from '../../src/index.ts';
import type { MetadataValue } from '../../src/context/metadata.ts';

/** Metadata as JSON can carry it: bytes in hexadecimal. */
export type Fields = [key: string, value: string][];

/** What the handler saw of a call. */
export interface Seen {
  deadline: number | undefined;
  peer: string;
  aborted: Code | undefined;
  requests: string[];
  sent: number;
  last: { text: string };
}

/** The service of the table: each method does one thing that a caller can tell. */
@Handler('parity.Parity')
export class ParityHandler {
  seen: Seen = fresh();
  /** What `held` and `slow` wait for. */
  go: Promise<void> = Promise.resolve();

  forget(): void {
    this.seen = fresh();
  }

  @Rpc() async echo(request: { text: string }, ctx: Context): Promise<{ text: string }> {
    this.#look(ctx);
    this.seen.last = request;
    return request;
  }

  @Rpc({ stream: 'server' }) async *count(
    request: { to: number; size?: number },
    ctx: Context,
  ): AsyncIterable<{ n: number }> {
    this.#look(ctx);
    const padding = 'x'.repeat(request.size ?? 0);
    for (let n = 1; n <= request.to; n += 1) {
      this.seen.sent = n;
      yield { n, ...(padding === '' ? {} : { padding }) };
    }
  }

  @Rpc({ stream: 'client' }) async sum(
    requests: AsyncIterable<{ n: number }>,
    ctx: Context,
  ): Promise<{ total: number }> {
    this.#look(ctx);
    let total = 0;
    for await (const { n } of requests) {
      await this.go;
      total += n;
    }
    return { total };
  }

  @Rpc({ stream: 'bidi' }) async *chat(
    lines: AsyncIterable<{ text: string }>,
    ctx: Context,
  ): AsyncIterable<{ text: string }> {
    this.#look(ctx);
    yield { text: 'welcome' };
    for await (const { text } of lines) {
      this.seen.requests.push(text);
      yield { text: text.toUpperCase() };
    }
  }

  /** Answers when it is let go, or never. */
  @Rpc() async held(request: { text: string }, ctx: Context): Promise<{ text: string }> {
    this.#look(ctx);
    this.seen.requests.push(request.text);
    await Promise.race([this.go, new Promise((resolve) => ctx.onAbort(resolve))]);
    ctx.throwIfAborted();
    return request;
  }

  @Rpc() async fail(request: { code: number; how: 'rich' | 'plain' | 'crash' }): Promise<never> {
    if (request.how === 'crash') throw new Error('a secret');
    throw new TenonError({
      code: request.code as Code,
      message: `naïve – 東京 😀 ${request.code}`,
      ...(request.how === 'rich' && {
        reason: 'parity.failed',
        details: [errorInfo({ reason: 'PARITY', domain: 'tenon', metadata: { a: '1' } })],
        metadata: { 'raw-bin': Uint8Array.of(0, 255), text: 'so' },
      }),
    });
  }

  @Rpc() async say(request: { said: string }): Promise<never> {
    throw new TenonError({ code: Code.Aborted, message: request.said });
  }

  @Rpc({ stream: 'server' }) async *failLate(request: { after: number }): AsyncIterable<{ n: number }> {
    for (let n = 1; n <= request.after; n += 1) yield { n };
    throw new TenonError({ code: Code.DataLoss, message: 'the rest is gone' });
  }

  /** Says what metadata came, and sends some. */
  @Rpc() async mirror(_request: object, ctx: Context): Promise<{ fields: Fields }> {
    ctx.headers.merge(parityMetadata());
    ctx.trailers.merge(parityMetadata());
    return { fields: fieldsOf(ctx.metadata) };
  }

  #look(ctx: Context): void {
    this.seen.deadline = ctx.deadline;
    this.seen.peer = ctx.peer;
    ctx.onAbort(({ code }) => (this.seen.aborted = code));
  }
}

@Service({ name: 'parity', handlers: [ParityHandler] })
export class Parity {}

/** Bytes, nothing at all, and keys that come again. */
export function parityMetadata(): Metadata {
  return new Metadata({
    'raw-bin': [Uint8Array.of(0, 255, 10, 44), Uint8Array.of(), Uint8Array.of(1)],
    list: ['a', 'b, c', 'a'],
    empty: '',
  });
}

/** The fields of {@link parityMetadata} in `metadata`, in their order. */
export function fieldsOf(metadata: Metadata): Fields {
  const wanted = ['raw-bin', 'list', 'empty'];
  return wanted.flatMap((key) => metadata.getAll(key).map((value): [string, string] => [key, textOf(value)]));
}

function textOf(value: MetadataValue): string {
  return typeof value === 'string' ? value : Buffer.from(value).toString('hex');
}

function fresh(): Seen {
  return { deadline: undefined, peer: '', aborted: undefined, requests: [], sent: 0, last: { text: '' } };
}
