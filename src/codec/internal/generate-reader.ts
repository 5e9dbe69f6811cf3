import { setOwn } from '../../internal/own.ts';
import type { Converter } from './converter.ts';
import { access, compile, isLong, isPackable, tagOf, wireType } from './generate.ts';
import { elementsOf, type Field, type FieldType, type OneOf, type Scalar } from './message-fields.ts';
import { fail, withFieldPath } from './codec-errors.ts';
import { safeNumber } from './wire-reader.ts';

/** The type of a 64-bit integer in a value. */
export type Int64 = 'bigint' | 'string' | 'number';

/** Generates the function that reads messages with these `fields`. */
export function generateReader(fields: readonly Field[], int64: Int64): Converter['read'] {
  const scope: Record<string, unknown> = { withFieldPath, safeNumber, nameOf, setOwn, missing };
  const oneofs = [...new Set(fields.flatMap((field) => field.oneof ?? []))];
  const members = fields.map((field, index): Member => {
    if (field.enum) scope[`e${index}`] = field.enum.byNumber;
    if (field.message) scope[`t${index}`] = field.message();
    return {
      field,
      index,
      local: field.oneof ? `v${oneofs.indexOf(field.oneof)}` : `p${index}`,
      oneof: field.oneof ? oneofs.indexOf(field.oneof) : -1,
    };
  });
  const alone = members.filter((member) => member.oneof < 0);
  const source = `function read(r, depth, before) {
    if (depth > r.maxDepth) r.tooDeep();
    if ((r.left -= ${elementsOf(fields)}) < 0) r.tooMany();
    let tag = 0;
    ${alone.map((member) => `let ${member.local} = ${initial(member.field, int64)};`).join('\n')}
    ${oneofs.map((_, index) => `let o${index}; let v${index};`).join('\n')}
    if (before !== undefined) {
      ${alone.map((member) => `${member.local} = ${access('before', member.field.property)};`).join('\n')}
      ${members
        .filter((member) => member.oneof >= 0)
        .map(takeOver)
        .join('\n')}
    }
    try {
      while (r.pos < r.end) {
        tag = 0;
        tag = r.tag();
        switch (tag) {
          ${members.map((member) => cases(member, int64)).join('\n')}
          default: r.skip(tag, depth);
        }
      }
    } catch (error) {
      switch (tag >>> 3) {
        ${members.map(({ field, local }) => `case ${field.number}: throw withFieldPath(${segment(field, local)}, error);`).join('\n')}
        default: throw error;
      }
    }
    ${alone
      .filter(({ field }) => field.required)
      .map(({ field, local }) => `if (${local} === undefined) missing(${quote(field.property)});`)
      .join('\n')}
    const m = { ${alone
      .filter(({ field }) => !isOptional(field))
      .map(({ field, local }) => `${quote(field.property)}: ${local}`)
      .join(', ')} };
    ${alone
      .filter(({ field }) => isOptional(field))
      .map(({ field, local }) => `if (${local} !== undefined) m[${quote(field.property)}] = ${local};`)
      .join('\n')}
    ${oneofs.map((oneof, index) => setOneOf(oneof, index)).join('\n')}
    return m;
  }`;
  return compile(source, scope);
}

interface Member {
  readonly field: Field;
  readonly index: number;
  /** The variable that holds the value: one for all members of a oneof. */
  readonly local: string;
  readonly oneof: number;
}

const quote = JSON.stringify;

function isOptional(field: Field): boolean {
  return field.cardinality === 'single' && field.hasPresence;
}

function initial(field: Field, int64: Int64): string {
  if (field.cardinality === 'repeated') return '[]';
  if (field.cardinality === 'map') return '{}';
  return field.hasPresence ? 'undefined' : defaultOf(field, int64);
}

/** Source text of a scalar's default. */
function defaultOf(type: FieldType, int64: Int64): string {
  const { scalar } = type;
  if (scalar === undefined) return 'undefined';
  if (scalar === 'enum') return enumDefault(type);
  if (scalar === 'string') return '""';
  if (scalar === 'bytes') return 'new Uint8Array(0)';
  if (scalar === 'bool') return 'false';
  return isLong(scalar) ? { bigint: '0n', string: '"0"', number: '0' }[int64] : '0';
}

function enumDefault(type: FieldType): string {
  if (isNull(type)) return 'null';
  const name = type.enum?.byNumber.get(0);
  return name === undefined ? '0' : quote(name);
}

function isNull(type: FieldType): boolean {
  return type.enum?.name === 'google.protobuf.NullValue';
}

/** Source text that reads one value. */
function value(member: Member, int64: Int64): string {
  const { field, index } = member;
  if (field.scalar === 'enum') return isNull(field) ? '(r.int32(), null)' : `nameOf(e${index}, r.int32())`;
  return scalarValue(field.scalar as Scalar, int64);
}

function scalarValue(scalar: Scalar, int64: Int64): string {
  const read = `r.${scalar}()`;
  if (!isLong(scalar) || int64 === 'bigint') return read;
  return int64 === 'string' ? `${read}.toString()` : `safeNumber(${read})`;
}

/** Source text that enters, reads and leaves a message; `before` is the variable with the value read before, if any. */
function message(index: number, target: string, before: string): string {
  return `const outer = r.enter(); ${target} = t${index}.read(r, depth + 1, ${before}); r.leave(outer);`;
}

function cases(member: Member, int64: Int64): string {
  const { field, index, local } = member;
  const label = (type: number): string => `case ${tagOf(field.number, type)}:`;
  if (field.cardinality === 'map') return `${label(2)} { ${mapEntry(member, int64)} continue; }`;
  if (field.cardinality === 'repeated') {
    if (field.message) return `${label(2)} { let x; ${message(index, 'x', 'undefined')} ${local}.push(x); continue; }`;
    const one = `${label(wireType(field.scalar))} if (--r.left < 0) r.tooMany(); ${local}.push(${value(member, int64)}); continue;`;
    if (!isPackable(field.scalar)) return one;
    return `${one}
      ${label(2)} {
        const outer = r.enter(); let left = r.left;
        while (r.pos < r.end) { if (--left < 0) r.tooMany(); ${local}.push(${value(member, int64)}); }
        r.left = left; r.leave(outer); continue;
      }`;
  }
  if (member.oneof >= 0) {
    const name = quote(field.property);
    const before = `o${member.oneof} === ${name} ? ${local} : undefined`;
    const read = field.message ? message(index, local, before) : `${local} = ${value(member, int64)};`;
    return `${label(wireType(field.scalar))} { ${read} o${member.oneof} = ${name}; continue; }`;
  }
  if (field.message) return `${label(2)} { ${message(index, local, local)} continue; }`;
  return `${label(wireType(field.scalar))} ${local} = ${value(member, int64)}; continue;`;
}

function mapEntry(member: Member, int64: Int64): string {
  const { field, index, local } = member;
  const key = field.key as Scalar;
  const readValue = field.message ? message(index, 'v', 'v') : `v = ${value(member, int64)};`;
  // An absent message value is an empty message, as an absent scalar is its default.
  const absent = field.message
    ? `if (v === undefined) { r.end = r.pos; v = t${index}.read(r, depth + 1, undefined); }`
    : '';
  return `const entry = r.enter();
    if ((r.left -= 2) < 0) r.tooMany();
    let k = ${defaultOf({ scalar: key, enum: undefined, message: undefined }, 'bigint')}; let v = ${defaultOf(field, int64)};
    while (r.pos < r.end) {
      const part = r.tag();
      switch (part) {
        case ${tagOf(1, wireType(key))}: k = ${scalarValue(key, 'bigint')}; break;
        case ${tagOf(2, wireType(field.scalar))}: { ${readValue} break; }
        default: r.skip(part, depth);
      }
    }
    ${absent}
    r.leave(entry);
    setOwn(${local}, k, v);`;
}

/** Source text that takes a member of a oneof over from the value read before. */
function takeOver(member: Member): string {
  const from = access('before', member.field.property);
  return `if (${from} !== undefined) { o${member.oneof} = ${quote(member.field.property)}; v${member.oneof} = ${from}; }`;
}

function setOneOf(oneof: OneOf, index: number): string {
  const set = oneof.members.map((name) => `case ${quote(name)}: m[${quote(name)}] = v${index}; break;`).join(' ');
  const discriminant = oneof.property === undefined ? '' : `m[${quote(oneof.property)}] = o${index};`;
  return `if (o${index} !== undefined) { ${discriminant} switch (o${index}) { ${set} } }`;
}

/** Source text of the path segment of the value that is being read. */
function segment(field: Field, local: string): string {
  return field.cardinality === 'repeated'
    ? `${quote(`${field.property}[`)} + ${local}.length + "]"`
    : quote(field.property);
}

function nameOf(names: ReadonlyMap<number, string>, number: number): string | number {
  return names.get(number) ?? number;
}

function missing(property: string): never {
  fail('a required field is missing', property);
}
