import { setOwn } from '../../internal/own.ts';
import { didYouMean } from '../../internal/suggest.ts';
import type { Converter } from './converter.ts';
import { generateReader, type Int64 } from './generate-reader.ts';
import { generateWriter } from './generate-writer.ts';
import { takesNull } from './generate.ts';
import { isDefaultJson, scalarDefault, scalarFromJson, scalarToJson } from './json-scalars.ts';
import type { Budget } from './limits.ts';
import { elementsOf, type Field, type OneOf } from './message-fields.ts';
import { describeValue, fail, isRecord, keySegment, withFieldPath } from './codec-errors.ts';

/** Converts ordinary messages: bytes by generated functions, JSON by a loop over the fields. */
export class MessageConverter implements Converter {
  readonly name: string;
  readonly #fieldsOf: () => readonly Field[];
  readonly #int64: Int64;
  #jsonNames: ReadonlyMap<string, Field> | undefined;
  #elements: number | undefined;

  constructor(name: string, fieldsOf: () => readonly Field[], int64: Int64) {
    this.name = name;
    this.#fieldsOf = fieldsOf;
    this.#int64 = int64;
  }

  /** Replaces itself by the generated function at the first call: most types of a `.proto` are never used. */
  write: Converter['write'] = (writer, value, depth) => {
    this.write = generateWriter(this.name, this.#fieldsOf());
    this.write(writer, value, depth);
  };

  read: Converter['read'] = (reader, depth, before) => {
    this.read = generateReader(this.#fieldsOf(), this.#int64);
    return this.read(reader, depth, before);
  };

  toJson(value: unknown, depth: number, budget: Budget): unknown {
    budget.checkDepth(depth);
    if (!isRecord(value)) fail(`expected a ${this.name} (an object), got ${describeValue(value)}`);
    const json: Record<string, unknown> = {};
    const known = new Set<string>();
    const set = new Map<OneOf, string>();
    for (const field of this.#fieldsOf()) {
      known.add(field.property);
      const given = read(value, field.property);
      if (isAbsent(field, given)) {
        if (field.required) fail('a required field is missing', field.property);
        continue;
      }
      if (field.oneof) takeMember(set, field.oneof, field.property);
      const converted = inField(field.property, () => fieldToJson(field, given, depth, budget));
      if (!isLeftOut(field, converted)) setOwn(json, field.jsonName, converted);
    }
    for (const oneof of new Set(this.#fieldsOf().flatMap((field) => field.oneof ?? []))) {
      if (oneof.property === undefined) continue;
      known.add(oneof.property);
      const said = read(value, oneof.property);
      if (said !== undefined && said !== null && said !== set.get(oneof)) {
        fail(
          `says ${describeValue(said)}, but the member that is set is ${describeValue(set.get(oneof))}`,
          oneof.property,
        );
      }
    }
    for (const key of Object.keys(value)) {
      if (!known.has(key) && value[key] !== undefined)
        fail(`no field ${describeValue(key)} in ${this.name}.${didYouMean(key, known)}`);
    }
    return json;
  }

  fromJson(json: unknown, depth: number, budget: Budget): unknown {
    budget.checkDepth(depth);
    budget.take((this.#elements ??= elementsOf(this.#fieldsOf())));
    if (!isRecord(json)) fail(`expected a ${this.name} (a JSON object), got ${describeValue(json)}`);
    const names = (this.#jsonNames ??= jsonNames(this.#fieldsOf()));
    const given = new Map<Field, unknown>();
    for (const [key, content] of Object.entries(json)) {
      const field = names.get(key);
      if (!field) fail(`no field ${describeValue(key)} in ${this.name}.${didYouMean(key, names.keys())}`);
      if (given.has(field)) fail('is given twice, under both its names', field.property);
      given.set(field, content);
    }
    const value: Record<string, unknown> = {};
    const set = new Map<OneOf, string>();
    for (const field of this.#fieldsOf()) {
      const content = given.get(field);
      if (isAbsent(field, content)) {
        if (field.required) fail('a required field is missing', field.property);
        if (!field.hasPresence || field.cardinality !== 'single') value[field.property] = emptyOf(field, this.#int64);
        continue;
      }
      if (field.oneof) {
        takeMember(set, field.oneof, field.property);
        if (field.oneof.property !== undefined) value[field.oneof.property] = field.property;
      }
      value[field.property] = inField(field.property, () => this.#fieldFromJson(field, content, depth, budget));
    }
    return value;
  }

  #fieldFromJson(field: Field, json: unknown, depth: number, budget: Budget): unknown {
    const one = (content: unknown): unknown =>
      field.message
        ? field.message().fromJson(content, depth + 1, budget)
        : scalarFromJson(field, content, this.#int64, budget.form);
    if (field.cardinality === 'repeated') {
      if (!Array.isArray(json)) fail(`expected a list (a JSON array), got ${describeValue(json)}`);
      // Each message takes its own elements when it is read.
      if (!field.message) budget.take(json.length);
      return json.map((content, index) => inField(keySegment(index), () => one(content)));
    }
    if (field.cardinality === 'single') return one(json);
    if (!isRecord(json)) fail(`expected a map (a JSON object), got ${describeValue(json)}`);
    const map: Record<string, unknown> = {};
    for (const [key, content] of Object.entries(json)) {
      budget.take(2);
      inField(keySegment(key), () => {
        setOwn(map, keyFromJson(field, key), one(content));
      });
    }
    return map;
  }
}

/** Reads a property, but none that every object inherits: a field may be named `constructor`. */
function read(value: Record<string, unknown>, property: string): unknown {
  return property in Object.prototype && !Object.hasOwn(value, property) ? undefined : value[property];
}

function fieldToJson(field: Field, value: unknown, depth: number, budget: Budget): unknown {
  const one = (content: unknown): unknown =>
    field.message ? field.message().toJson(content, depth + 1, budget) : scalarToJson(field, content, budget.form);
  if (field.cardinality === 'repeated') {
    if (!Array.isArray(value)) fail(`expected a list (an array), got ${describeValue(value)}`);
    return value.map((content, index) => inField(keySegment(index), () => one(content)));
  }
  if (field.cardinality === 'single') return one(value);
  if (!isRecord(value)) fail(`expected a map (a plain object), got ${describeValue(value)}`);
  const json: Record<string, unknown> = {};
  for (const [key, content] of Object.entries(value)) {
    if (content === undefined) continue;
    inField(keySegment(key), () => {
      setOwn(json, keyFromJson(field, key), one(content));
    });
  }
  return json;
}

/** Checks a key of a map. Keys of every type are strings, in JSON and in values. */
function keyFromJson(field: Field, key: string): string {
  if (field.key === 'bool')
    return key === 'true' || key === 'false' ? key : fail(`expected the key true or false, got ${describeValue(key)}`);
  const type = { scalar: field.key, enum: undefined, message: undefined };
  return String(scalarFromJson(type, key, 'bigint', 'text'));
}

function isAbsent(field: Field, value: unknown): boolean {
  return value === undefined || (value === null && !(takesNull(field) && field.cardinality === 'single'));
}

/** True for a field without presence that has its default: it is left out of JSON. */
function isLeftOut(field: Field, json: unknown): boolean {
  if (field.cardinality === 'repeated') return (json as unknown[]).length === 0;
  if (field.cardinality === 'map') return Object.keys(json as object).length === 0;
  return !field.hasPresence && isDefaultJson(field, json);
}

function emptyOf(field: Field, int64: Int64): unknown {
  if (field.cardinality === 'repeated') return [];
  return field.cardinality === 'map' ? {} : scalarDefault(field, int64);
}

function takeMember(set: Map<OneOf, string>, oneof: OneOf, property: string): void {
  const first = set.get(oneof);
  if (first !== undefined)
    fail(
      `is set together with "${first}", but only one of a oneof can be: leave "${first}" or "${property}" out`,
      property,
    );
  set.set(oneof, property);
}

function jsonNames(fields: readonly Field[]): ReadonlyMap<string, Field> {
  const names = new Map<string, Field>();
  for (const field of fields) names.set(field.property, field).set(field.original, field);
  // A json_name wins over another field's other names.
  for (const field of fields) names.set(field.jsonName, field);
  return names;
}

function inField<T>(segment: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw withFieldPath(segment, error);
  }
}
