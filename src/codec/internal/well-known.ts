import { setOwn } from '../../internal/own.ts';
import type { Converter } from './converter.ts';
import type { Int64 } from './generate-reader.ts';
import { isLong, tagOf, wireType } from './generate.ts';
import { isDefaultJson, scalarDefault, scalarFromJson, scalarToJson } from './json-scalars.ts';
import type { Budget } from './limits.ts';
import type { FieldType, Scalar } from './message-fields.ts';
import { describeValue, fail, isRecord, keySegment, withFieldPath } from './codec-errors.ts';
import {
  checkDuration,
  dateToInstant,
  type Duration,
  formatDuration,
  formatTimestamp,
  instantToDate,
  parseDuration,
  parseTimestamp,
} from '../time.ts';
import { safeNumber, type WireReader } from './wire-reader.ts';
import type { WireWriter } from './wire-writer.ts';

const prefix = 'google.protobuf.';

/** Makes the converters of the well-known types whose values are not objects of their fields (docs/codec.md). */
export function wellKnownConverters(int64: Int64): readonly Converter[] {
  const value = valueConverter();
  return [
    timestamp,
    duration,
    value,
    structConverter(value),
    listConverter(value),
    ...Object.entries(wrapped).map(([name, scalar]) => wrapperConverter(prefix + name, scalar, int64)),
  ];
}

const wrapped: Readonly<Record<string, Scalar>> = {
  DoubleValue: 'double',
  FloatValue: 'float',
  Int64Value: 'int64',
  UInt64Value: 'uint64',
  Int32Value: 'int32',
  UInt32Value: 'uint32',
  BoolValue: 'bool',
  StringValue: 'string',
  BytesValue: 'bytes',
};

/** Reads `seconds = 1` and `nanos = 2`, the fields of Timestamp and Duration. */
function readParts(
  reader: WireReader,
  depth: number,
  before: { seconds: bigint; nanos: number },
): { seconds: bigint; nanos: number } {
  reader.take(1);
  let { seconds, nanos } = before;
  while (reader.pos < reader.end) {
    const tag = reader.tag();
    if (tag === 8) seconds = reader.int64();
    else if (tag === 16) nanos = reader.int32();
    else reader.skip(tag, depth);
  }
  return { seconds, nanos };
}

function writeParts(writer: WireWriter, seconds: unknown, nanos: unknown): void {
  if (seconds !== 0n && seconds !== 0) {
    writer.byte(8);
    writer.int64(seconds);
  }
  if (nanos !== 0) {
    writer.byte(16);
    writer.int32(nanos);
  }
}

const timestamp: Converter = {
  name: `${prefix}Timestamp`,
  write(writer, value) {
    const { seconds, nanos } = dateToInstant(value);
    writeParts(writer, seconds, nanos);
  },
  read(reader, depth, before) {
    return instantToDate(
      readParts(reader, depth, before === undefined ? { seconds: 0n, nanos: 0 } : dateToInstant(before)),
    );
  },
  toJson: formatTimestamp,
  fromJson(json, _depth, budget) {
    budget.take(1);
    return parseTimestamp(json);
  },
};

const duration: Converter = {
  name: `${prefix}Duration`,
  write(writer, value) {
    const { seconds, nanos } = durationParts(value);
    writeParts(writer, seconds, nanos);
  },
  read(reader, depth, before) {
    const { seconds, nanos } = readParts(reader, depth, (before as Duration | undefined) ?? { seconds: 0n, nanos: 0 });
    checkDuration(seconds, nanos);
    return { seconds, nanos };
  },
  toJson(value) {
    const { seconds, nanos } = durationParts(value);
    return formatDuration(seconds, nanos);
  },
  fromJson(json, _depth, budget) {
    budget.take(1);
    return parseDuration(json);
  },
};

function durationParts(value: unknown): Duration {
  if (!isRecord(value)) fail(`expected a duration ({ seconds, nanos }), got ${describeValue(value)}`);
  for (const key of Object.keys(value)) {
    if (key !== 'seconds' && key !== 'nanos')
      fail(`${prefix}Duration has no field ${describeValue(key)}; it has seconds and nanos`);
  }
  const { seconds = 0n, nanos = 0 } = value;
  const isWhole = typeof seconds === 'bigint' || (typeof seconds === 'number' && Number.isSafeInteger(seconds));
  if (!isWhole) fail(`expected whole seconds (a bigint or an integer), got ${describeValue(seconds)}`, 'seconds');
  if (typeof nanos !== 'number' || !Number.isInteger(nanos))
    fail(`expected whole nanoseconds, got ${describeValue(nanos)}`, 'nanos');
  checkDuration(BigInt(seconds), nanos);
  return { seconds: BigInt(seconds), nanos };
}

function valueConverter(): Converter {
  const converter: Converter = {
    name: `${prefix}Value`,
    write(writer, value, depth) {
      writer.checkDepth(depth);
      if (value === null) {
        writer.byte(8);
        writer.byte(0);
      } else if (typeof value === 'number') {
        writer.byte(17);
        writer.double(value);
      } else if (typeof value === 'string') {
        writer.byte(26);
        writer.string(value);
      } else if (typeof value === 'boolean') {
        writer.byte(32);
        writer.bool(value);
      } else if (Array.isArray(value)) {
        nested(writer, 50, () => list.write(writer, value, depth));
      } else if (isRecord(value)) {
        nested(writer, 42, () => struct.write(writer, value, depth));
      } else fail(`expected a JSON value, got ${describeValue(value)}`);
    },
    read(reader, depth, before) {
      reader.take(1);
      let value: unknown = before === undefined ? null : before;
      while (reader.pos < reader.end) {
        const tag = reader.tag();
        if (tag === 8) {
          reader.int32();
          value = null;
        } else if (tag === 17) value = reader.double();
        else if (tag === 26) value = reader.string();
        else if (tag === 32) value = reader.bool();
        else if (tag === 42 || tag === 50) {
          const outer = reader.enter();
          if (tag === 42) value = struct.read(reader, depth, isRecord(value) ? value : undefined);
          else value = list.read(reader, depth, Array.isArray(value) ? value : undefined);
          reader.leave(outer);
        } else reader.skip(tag, depth);
      }
      return value;
    },
    toJson: (json, depth, budget) => checkedJson(json, depth, budget, 0),
    fromJson: (json, depth, budget) => checkedJson(json, depth, budget, 1),
  };
  const struct = structConverter(converter);
  const list = listConverter(converter);
  return converter;
}

function structConverter(value: Converter): Converter {
  return {
    name: `${prefix}Struct`,
    write(writer, struct, depth) {
      writer.checkDepth(depth);
      if (!isRecord(struct)) fail(`expected a JSON object, got ${describeValue(struct)}`);
      for (const key of Object.keys(struct)) {
        const content = struct[key];
        if (content === undefined) continue;
        try {
          nested(writer, 10, () => {
            writer.byte(10);
            writer.string(key);
            nested(writer, 18, () => value.write(writer, content, depth + 1));
          });
        } catch (error) {
          throw withFieldPath(keySegment(key), error);
        }
      }
    },
    read(reader, depth, before) {
      reader.checkDepth(depth);
      reader.take(1);
      const struct = (before as Record<string, unknown> | undefined) ?? {};
      while (reader.pos < reader.end) {
        const tag = reader.tag();
        if (tag !== 10) {
          reader.skip(tag, depth);
          continue;
        }
        reader.take(1);
        const outer = reader.enter();
        let key = '';
        let content: unknown = null;
        while (reader.pos < reader.end) {
          const part = reader.tag();
          if (part === 10) key = reader.string();
          else if (part === 18) {
            const entry = reader.enter();
            content = value.read(reader, depth + 1, undefined);
            reader.leave(entry);
          } else reader.skip(part, depth);
        }
        reader.leave(outer);
        setOwn(struct, key, content);
      }
      return struct;
    },
    toJson: (struct, depth, budget) =>
      isRecord(struct)
        ? checkedJson(struct, depth, budget, 0)
        : fail(`expected a JSON object, got ${describeValue(struct)}`),
    fromJson: (json, depth, budget) =>
      isRecord(json) ? checkedJson(json, depth, budget, 1) : fail(`expected a JSON object, got ${describeValue(json)}`),
  };
}

function listConverter(value: Converter): Converter {
  return {
    name: `${prefix}ListValue`,
    write(writer, list, depth) {
      writer.checkDepth(depth);
      if (!Array.isArray(list)) fail(`expected a JSON array, got ${describeValue(list)}`);
      list.forEach((content: unknown, index) => {
        try {
          nested(writer, 10, () => value.write(writer, content, depth + 1));
        } catch (error) {
          throw withFieldPath(keySegment(index), error);
        }
      });
    },
    read(reader, depth, before) {
      reader.checkDepth(depth);
      reader.take(1);
      const list = (before as unknown[] | undefined) ?? [];
      while (reader.pos < reader.end) {
        const tag = reader.tag();
        if (tag !== 10) {
          reader.skip(tag, depth);
          continue;
        }
        const outer = reader.enter();
        list.push(value.read(reader, depth + 1, undefined));
        reader.leave(outer);
      }
      return list;
    },
    toJson: (list, depth, budget) =>
      Array.isArray(list)
        ? checkedJson(list, depth, budget, 0)
        : fail(`expected a JSON array, got ${describeValue(list)}`),
    fromJson: (json, depth, budget) =>
      Array.isArray(json)
        ? checkedJson(json, depth, budget, 1)
        : fail(`expected a JSON array, got ${describeValue(json)}`),
  };
}

/**
 * Copies a JSON value. A value that is not JSON, or nested too deeply, is refused. Each value and key takes `weight`
 * elements of the budget: 1 when it is read, 0 when it is written.
 */
function checkedJson(value: unknown, depth: number, budget: Budget, weight: 0 | 1): unknown {
  budget.checkDepth(depth);
  budget.take(weight);
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : fail(`expected a JSON value, got ${value}`);
  const at = (key: string | number, content: unknown): unknown => atKey(key, content, depth, budget, weight);
  if (Array.isArray(value)) return value.map((content, index) => at(index, content));
  if (!isRecord(value)) fail(`expected a JSON value, got ${describeValue(value)}`);
  const copy: Record<string, unknown> = {};
  for (const [key, content] of Object.entries(value)) {
    if (content === undefined) continue;
    budget.take(weight);
    setOwn(copy, key, at(key, content));
  }
  return copy;
}

function atKey(key: string | number, content: unknown, depth: number, budget: Budget, weight: 0 | 1): unknown {
  try {
    return checkedJson(content, depth + 1, budget, weight);
  } catch (error) {
    throw withFieldPath(keySegment(key), error);
  }
}

function wrapperConverter(name: string, scalar: Scalar, int64: Int64): Converter {
  const type: FieldType = { scalar, enum: undefined, message: undefined };
  const tag = tagOf(1, wireType(scalar));
  const long = isLong(scalar) && int64 !== 'bigint' ? (int64 === 'string' ? String : safeNumber) : undefined;
  const method = scalar as Exclude<Scalar, 'enum'>;
  return {
    name,
    write(writer, value) {
      if (isDefault(type, value)) return;
      writer.byte(tag);
      writer[method](value);
    },
    read(reader, depth, before) {
      reader.take(1);
      let value = before ?? scalarDefault(type, int64);
      while (reader.pos < reader.end) {
        const found = reader.tag();
        if (found === tag) value = long ? long(reader[method]() as bigint) : reader[method]();
        else reader.skip(found, depth);
      }
      return value;
    },
    toJson: (value, _depth, budget) => scalarToJson(type, value, budget.form),
    fromJson(json, _depth, budget) {
      budget.take(1);
      return scalarFromJson(type, json, int64, budget.form);
    },
  };
}

function isDefault(type: FieldType, value: unknown): boolean {
  if (value instanceof Uint8Array) return value.length === 0 && type.scalar === 'bytes';
  if (typeof value === 'bigint') return value === 0n && isLong(type.scalar);
  const kind = { string: 'string', bool: 'boolean', bytes: 'none' }[type.scalar as string] ?? 'number';
  return typeof value === kind && isDefaultJson(type, value);
}

function nested(writer: WireWriter, tag: number, write: () => void): void {
  writer.byte(tag);
  const mark = writer.open();
  write();
  writer.close(mark);
}
