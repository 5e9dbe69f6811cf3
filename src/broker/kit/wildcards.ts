/** The form in which a server writes wildcards. */
export interface WildcardRules {
  /** Stands for exactly one word: `*` on NATS, `+` on MQTT. */
  readonly one: string;
  /** Stands for one or more words at the end: `>` on NATS, `*.#` on RabbitMQ, `+/#` on MQTT. */
  readonly rest: string;
  /** Characters of other words that the server would take for wildcards. Each is written after a backslash. */
  readonly escapes?: RegExp | undefined;
}

/** The last word of topics with dead letters. */
export const deadLetterWord = 'dead-letter';

/**
 * A topic with wildcards: `orders.*.paid`, `orders.>`. Words are separated by dots. The word `*` matches one word; the
 * word `>`, at the end, one or more. Wildcards match no empty word. A topic of dead letters is matched only if the
 * pattern ends in `dead-letter` too, so that no subscription handles its own dead letters.
 */
export class TopicPattern {
  readonly text: string;
  readonly #words: readonly string[];
  readonly #isOpen: boolean;

  private constructor(text: string, words: readonly string[]) {
    this.text = text;
    this.#words = words;
    this.#isOpen = words.at(-1) === '>';
  }

  /** Returns the pattern, or undefined for a topic without wildcards. */
  static of(topic: string): TopicPattern | undefined {
    if (!hasWildcard(topic)) return undefined;
    return new TopicPattern(topic, topic.split('.'));
  }

  /** False if `>` is not the last word, or a word is empty: the pattern would match nothing. */
  get isValid(): boolean {
    return this.#words.every((word, index) => word !== '' && (word !== '>' || index === this.#words.length - 1));
  }

  matches(topic: string): boolean {
    const words = topic.split('.');
    const wanted = this.#words;
    if (this.#isOpen ? words.length < wanted.length : words.length !== wanted.length) return false;
    if (words.at(-1) === deadLetterWord && wanted.at(-1) !== deadLetterWord) return false;
    return !words.includes('') && wanted.every((word, index) => word === '*' || word === '>' || word === words[index]);
  }

  /** Returns the pattern as a server writes it. `encode` encodes a word without wildcards. */
  write(rules: WildcardRules, separator: string, encode: (word: string) => string): string {
    const { one, rest, escapes } = rules;
    const global = escapes && new RegExp(escapes.source, 'g');
    return this.#words
      .map((word) => {
        if (word === '*') return one;
        if (word === '>') return rest;
        const encoded = encode(word);
        return global ? encoded.replace(global, '\\$&') : encoded;
      })
      .join(separator);
  }
}

/** True if a word of the topic is a wildcard. */
export function hasWildcard(topic: string): boolean {
  if (!topic.includes('*') && !topic.includes('>')) return false;
  return topic.split('.').some((word) => word === '*' || word === '>');
}
