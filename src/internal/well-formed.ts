/**
 * Replaces lone surrogates, as UTF-8 does. Every supported Node has the method, but not the library of types that this
 * project compiles against.
 */
export function wellFormed(text: string): string {
  return (text as unknown as { toWellFormed(): string }).toWellFormed();
}
