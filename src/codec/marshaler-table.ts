import { type Code, TenonError } from '../errors/errors.ts';
import { didYouMean } from '../internal/suggest.ts';
import type { Marshaler } from './codec.ts';
import { codecName } from './content-type.ts';

/** Finds the bound marshaler of a content type. */
export class MarshalerTable {
  readonly #byName = new Map<string, Marshaler>();
  readonly #unknown: Code;

  /**
   * `unknown` is the code of the error for a content type without a marshaler: a mistake of the caller on the client, a
   * missing feature on the server.
   */
  constructor(marshalers: readonly Marshaler[], unknown: Code) {
    this.#unknown = unknown;
    for (const marshaler of marshalers) this.#byName.set(codecName(marshaler.contentType), marshaler);
  }

  /** Gives the marshaler of `contentType`. Throws (`codec.unknown`) an error that lists those that are bound. */
  of(contentType: string): Marshaler {
    const name = codecName(contentType);
    const marshaler = this.#byName.get(name);
    if (marshaler) return marshaler;
    const known = [...this.#byName.keys()];
    throw new TenonError({
      code: this.#unknown,
      reason: 'codec.unknown',
      message: `no codec is bound for "${contentType}", only for ${known.join(', ')}.${didYouMean(name, known)}`,
    });
  }
}
