/**
 * The names of a class's constructor parameters, parsed from its text for use in messages. Empty if the class has no
 * constructor of its own, or if the text cannot be parsed.
 */
export function parameterNames(target: abstract new (...args: never[]) => unknown): readonly (string | undefined)[] {
  const text = Function.prototype.toString.call(target);
  const start = /(?:^|[\s;{}])constructor\s*\(/.exec(text);
  if (!start) return [];
  return splitList(text.slice(start.index + start[0].length)).map((one) => /^\s*([A-Za-z_$][\w$]*)/.exec(one)?.[1]);
}

/** True if the class has a constructor of its own. */
export function hasConstructor(target: abstract new (...args: never[]) => unknown): boolean {
  return /(?:^|[\s;{}])constructor\s*\(/.test(Function.prototype.toString.call(target));
}

/** Splits text at its commas, up to the closing bracket, without splitting nested brackets. */
function splitList(text: string): string[] {
  const parts: string[] = [];
  let [depth, from] = [0, 0];
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at);
    if ('([{'.includes(character)) depth += 1;
    if (depth === 0 && (character === ',' || character === ')')) {
      if (text.slice(from, at).trim() !== '') parts.push(text.slice(from, at));
      from = at + 1;
      if (character === ')') return parts;
    } else if (')]}'.includes(character)) depth -= 1;
  }
  return [];
}
