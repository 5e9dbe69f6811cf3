/**
 * The text with what is no Unicode (surrogates without their other half) replaced, as UTF-8 would have it. The types
 * are older than the method, which every supported Node has.
 */
export function wellFormed(text: string): string {
  return (text as unknown as { toWellFormed(): string }).toWellFormed();
}
