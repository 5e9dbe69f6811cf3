import { Code, TenonError } from '../errors/errors.ts';
import { anySchema, type Schema } from '../pipeline/pipeline.ts';
import type { Codec, Marshaler, MessageHeader, MessageStream, MessageType } from './codec.ts';
import { subType } from './content-type.ts';

const noBytes = new Uint8Array(0);

/**
 * A {@link Codec} over one connection whose bodies are in the format of a {@link Marshaler}.
 *
 * @example
 * ```ts
 * async function readAll(stream: MessageStream, message: MessageHeader, schema: Schema): Promise<void> {
 *   const codec = new MarshalerCodec(new JsonMarshaler(), stream);
 *   while (await codec.readHeader(message, MessageType.Request)) {
 *     console.log(message.endpoint, await codec.readBody(schema));
 *   }
 * }
 * ```
 */
export class MarshalerCodec implements Codec {
  readonly #marshaler: Marshaler;
  readonly #stream: MessageStream;
  /** The body of the header that was read last, until it is read itself. */
  #body: Uint8Array | undefined;
  #isClosed = false;

  constructor(marshaler: Marshaler, stream: MessageStream) {
    this.#marshaler = marshaler;
    this.#stream = stream;
  }

  async readHeader(message: MessageHeader, _type: MessageType): Promise<boolean> {
    this.#refuseIfClosed();
    this.#body = undefined;
    const next = await this.#stream.read();
    if (next === undefined) return false;
    Object.assign(message, next.header, { header: { ...next.header.header } });
    this.#body = next.body;
    return true;
  }

  async readBody(schema?: Schema): Promise<unknown> {
    this.#refuseIfClosed();
    const body = this.#body;
    this.#body = undefined;
    if (schema === undefined) return undefined;
    if (body === undefined) {
      throw new TenonError({
        code: Code.FailedPrecondition,
        reason: 'codec.no_header',
        message: 'there is no body to read: read a header first, and each body once',
      });
    }
    return this.#marshaler.unmarshal(schema, body);
  }

  async write(message: MessageHeader, body: unknown, schema: Schema = anySchema): Promise<void> {
    this.#refuseIfClosed();
    // A reply that is an error has no body.
    const bytes = body === undefined && message.error !== '' ? noBytes : this.#marshaler.marshal(schema, body);
    await this.#stream.write({ header: message, body: bytes });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#body = undefined;
    await this.#stream.close();
  }

  toString(): string {
    return subType(this.#marshaler.contentType);
  }

  #refuseIfClosed(): void {
    if (!this.#isClosed) return;
    throw new TenonError({
      code: Code.FailedPrecondition,
      reason: 'codec.closed',
      message: `the ${this.toString()} codec is closed: open another connection`,
    });
  }
}
