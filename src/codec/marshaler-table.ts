import { type Code, TenonError } from '../errors/errors.ts';
import { didYouMean } from '../internal/suggest.ts';
import type { Marshaler } from './codec.ts';
import { codecName } from './content-type.ts';

/** The marshalers that are bound, by the name that a content type gives them. */
export class MarshalerTable {
  readonly #byName = new Map<string, Marshaler>();
  readonly #unknown: Code;

  /**
   * `unknown` is the code for a content type that none is bound for: a caller's mistake on one side, a lack of the
   * server's on the other.
   */
  constructor(marshalers: readonly Marshaler[], unknown: Code) {
    this.#unknown = unknown;
    for (const marshaler of marshalers) this.#byName.set(codecName(marshaler.contentType), marshaler);
  }

  /** The marshaler of `contentType`. Throws (`codec.unknown`) listing the ones there are. */
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
