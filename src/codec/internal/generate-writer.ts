import { didYouMean } from '../../internal/suggest.ts';
import type { Converter } from './converter.ts';
import { access, compile, isLong, isPackable, tagOf, takesNull, wireType } from './generate.ts';
import type { EnumValues, Field, Scalar } from './message-fields.ts';
import { describeValue, fail, isRecord, keySegment, withFieldPath } from './codec-errors.ts';

/** Generates the function that writes messages with these `fields`. */
export function generateWriter(name: string, fields: readonly Field[]): Converter['write'] {
  const oneofs = [...new Set(fields.flatMap((field) => field.oneof ?? []))];
  const known = new Set([...fields.map((field) => field.property), ...oneofs.flatMap((oneof) => oneof.property ?? [])]);
  const scope: Record<string, unknown> = {
    withFieldPath, keySegment, listOf, keysOf, mapKey, numberOf, missing, twoMembers, otherMember,
    notAMessage: (value: unknown): never => fail(`expected a ${name} (an object), got ${describeValue(value)}`),
    checkNames: (value: object) => checkNames(name, known, value),
  }; // prettier-ignore
  fields.forEach((field, index) => {
    if (field.enum) scope[`e${index}`] = field.enum;
    if (field.message) scope[`t${index}`] = field.message();
  });
  const source = `function write(w, m, depth) {
    if (depth > w.maxDepth) w.tooDeep();
    if (typeof m !== "object" || m === null) notAMessage(m);
    let at = 0, i = 0, key = "", n = 0;
    ${oneofs.map((_, index) => `let o${index};`).join(' ')}
    try {
      ${fields.map((field, index) => writeField(field, index, field.oneof ? oneofs.indexOf(field.oneof) : -1)).join('\n')}
      at = -1;
      ${oneofs.map((oneof, index) => checkDiscriminant(oneof.property, index)).join('\n')}
      const found = n;
      for (const _ in m) n -= 1;
      if (n !== 0 || found === 0) checkNames(m);
    } catch (error) {
      switch (at) {
        ${fields.map((field) => `case ${field.number}: throw withFieldPath(${segment(field)}, error);`).join('\n')}
        default: throw error;
      }
    }
  }`;
  return compile(source, scope);
}

const quote = JSON.stringify;

function writeField(field: Field, index: number, oneof: number): string {
  const v = `v${index}`;
  const isThere = takesNull(field) && field.cardinality === 'single' ? 'true' : `${v} !== null`;
  const take =
    oneof < 0
      ? ''
      : `if (o${oneof} !== undefined) twoMembers(o${oneof}, ${quote(field.property)}); o${oneof} = ${quote(field.property)};`;
  const absent = field.required ? ` if (${v} === undefined || ${v} === null) missing();` : '';
  return `const ${v} = ${access('m', field.property)};
    at = ${field.number};
    if (${v} !== undefined) { n += 1; if (${isThere}) { ${take} ${body(field, index, v)} } }${absent}`;
}

function body(field: Field, index: number, v: string): string {
  if (field.cardinality === 'map') return mapEntries(field, index, v);
  if (field.cardinality === 'repeated') return list(field, index, v);
  if (field.hasPresence) return one(field, index, v);
  if (field.scalar === 'enum')
    return `const x = numberOf(e${index}, ${v}); if (x !== 0) { ${tag(field.number, 0)} w.int32(x); }`;
  return `if (${differsFromDefault(field.scalar as Scalar, v)}) { ${one(field, index, v)} }`;
}

/** Source text of a condition: a field without presence differs from its default, and so is written. */
function differsFromDefault(scalar: Scalar, v: string): string {
  if (scalar === 'string') return `${v} !== ""`;
  if (scalar === 'bool') return `${v} !== false`;
  if (scalar === 'bytes') return `!(${v} instanceof Uint8Array && ${v}.length === 0)`;
  if (isLong(scalar)) return `${v} !== 0n && ${v} !== 0 && ${v} !== "0"`;
  // Minus zero differs in its bits from the default.
  return scalar === 'double' || scalar === 'float' ? `(${v} !== 0 || 1 / ${v} < 0)` : `${v} !== 0`;
}

function tag(number: number, type: number): string {
  const value = tagOf(number, type);
  return value < 128 ? `w.byte(${value});` : `w.varint(${value});`;
}

/** Source text that writes one value with its tag. */
function one(field: Field, index: number, v: string, number = field.number): string {
  const start = tag(number, wireType(field.scalar));
  // Values nest, so the mark of an open value is a variable of its own block.
  if (field.message) return `${start} { const mark = w.open(); t${index}.write(w, ${v}, depth + 1); w.close(mark); }`;
  return `${start} ${scalarValue(field, index, v)}`;
}

function scalarValue(field: Field, index: number, v: string): string {
  return field.scalar === 'enum' ? `w.int32(numberOf(e${index}, ${v}));` : `w.${field.scalar}(${v});`;
}

function list(field: Field, index: number, v: string): string {
  const check = `i = -1; listOf(${v});`;
  if (!field.packed || !isPackable(field.scalar)) {
    return `${check} for (i = 0; i < ${v}.length; i += 1) { ${one(field, index, `${v}[i]`)} }`;
  }
  return `${check} if (${v}.length !== 0) {
      ${tag(field.number, 2)} const mark = w.open();
      for (i = 0; i < ${v}.length; i += 1) { ${scalarValue(field, index, `${v}[i]`)} }
      w.close(mark);
    }`;
}

function mapEntries(field: Field, index: number, v: string): string {
  const kind = field.key as Scalar;
  return `i = -1; const keys = keysOf(${v});
    for (i = 0; i < keys.length; i += 1) {
      key = keys[i];
      const x = ${v}[key];
      if (x === undefined) continue;
      ${tag(field.number, 2)} const mark = w.open();
      ${tag(1, wireType(kind))} w.${kind}(${kind === 'string' ? 'key' : `mapKey(${quote(kind)}, key)`});
      ${one(field, index, 'x', 2)}
      w.close(mark);
    }`;
}

function checkDiscriminant(property: string | undefined, index: number): string {
  if (property === undefined) return '';
  return `const d${index} = ${access('m', property)};
    if (d${index} !== undefined) { n += 1; if (d${index} !== null && d${index} !== o${index}) otherMember(${quote(property)}, d${index}, o${index}); }`;
}

function segment(field: Field): string {
  const name = quote(field.property);
  if (field.cardinality === 'single') return name;
  return field.cardinality === 'map'
    ? `i < 0 ? ${name} : ${name} + keySegment(key)`
    : `i < 0 ? ${name} : ${name} + keySegment(i)`;
}

function listOf(value: unknown): void {
  if (!Array.isArray(value)) fail(`expected a list (an array), got ${describeValue(value)}`);
}

function keysOf(value: unknown): string[] {
  if (!isRecord(value)) fail(`expected a map (a plain object), got ${describeValue(value)}`);
  return Object.keys(value);
}

const integer = /^-?\d+$/;

function mapKey(kind: Scalar, key: string): unknown {
  if (kind === 'bool')
    return key === 'true'
      ? true
      : key === 'false'
        ? false
        : fail(`expected the key true or false, got ${describeValue(key)}`);
  if (isLong(kind)) return key;
  return integer.test(key) ? Number(key) : fail(`expected a key of digits, for ${kind}, got ${describeValue(key)}`);
}

function numberOf(values: EnumValues, value: unknown): number {
  if (typeof value === 'string') {
    const number = values.byName.get(value);
    if (number !== undefined) return number;
    fail(`${values.name} has no value ${describeValue(value)}.${didYouMean(value, values.byName.keys())}`);
  }
  if (typeof value === 'number' && (value | 0) === value) return value;
  if (value === null && values.name === 'google.protobuf.NullValue') return 0;
  fail(`expected a name or a number of ${values.name}, got ${describeValue(value)}`);
}

function missing(): never {
  fail('a required field is missing');
}

function twoMembers(first: string, second: string): never {
  fail(`is set together with "${first}", but only one of a oneof can be: leave "${first}" or "${second}" out`);
}

function otherMember(property: string, said: unknown, is: string | undefined): never {
  const found = is === undefined ? 'no member of it is set' : `the member that is set is "${is}"`;
  fail(`says ${describeValue(said)}, but ${found}`, property);
}

/**
 * Refuses a value with an unknown property. It is called where the numbers of properties and fields found differ, which
 * accessors on a class cause too, or where no field was found: then the value may be a Promise, a Date or a Map.
 */
function checkNames(name: string, known: ReadonlySet<string>, value: object): void {
  if (!isRecord(value)) fail(`expected a ${name} (an object), got ${describeValue(value)}`);
  for (const key of Object.keys(value)) {
    if (!known.has(key) && value[key] !== undefined) {
      fail(`no field ${describeValue(key)} in ${name}.${didYouMean(key, known)}`);
    }
  }
}
