import { querySubject, watchSubject } from '../../go-micro/nats.ts';

/** The subjects of a registry: those of questions, and those of announcements. */
export class NatsSubjects {
  readonly prefixes: readonly string[];
  readonly queries: readonly string[];
  readonly watches: readonly string[];

  constructor(prefixes: readonly string[]) {
    this.prefixes = prefixes;
    this.queries = prefixes.map(querySubject);
    this.watches = prefixes.map(watchSubject);
  }

  /** False for a message at `subject` that comes to another of the subjects as well, and is heeded there. */
  isHeeded(subject: string, prefixes: readonly string[]): boolean {
    const first = this.prefixes.findIndex((prefix) => prefixes.includes(prefix));
    return first < 0 || subject === this.queries[first] || subject === this.watches[first];
  }
}
