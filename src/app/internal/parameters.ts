/**
 * The names of a class's constructor parameters, as its text has them: good enough to point at one. Empty where there
 * is no constructor of its own, or where it cannot be read.
 */
export function parameterNames(target: abstract new (...args: never[]) => unknown): readonly (string | undefined)[] {
  const text = Function.prototype.toString.call(target);
  const start = /(?:^|[\s;{}])constructor\s*\(/.exec(text);
  if (!start) return [];
  return splitList(text.slice(start.index + start[0].length)).map((one) => /^\s*([A-Za-z_$][\w$]*)/.exec(one)?.[1]);
}

/** Whether the class has a constructor of its own. */
export function hasConstructor(target: abstract new (...args: never[]) => unknown): boolean {
  return /(?:^|[\s;{}])constructor\s*\(/.test(Function.prototype.toString.call(target));
}

/** What stands between the commas up to the closing bracket, brackets within left whole. */
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
