/**
 * Something that `verify` tells of a backend. Its class says it with a static `notes()`, which is called without
 * anything being connected.
 */
export interface BackendNote {
  /** `warn` for what may do harm. */
  readonly level: 'info' | 'warn';
  readonly message: string;
  /** A remedy, as a sentence. */
  readonly fix: string;
}
