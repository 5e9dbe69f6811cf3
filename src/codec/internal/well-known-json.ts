import { setOwn } from '../../internal/own.ts';
import type { Converter } from './converter.ts';
import type { Budget } from './limits.ts';
import { propertyName } from './message-fields.ts';
import { describeValue, fail, isRecord } from './codec-errors.ts';
import { WireReader } from './wire-reader.ts';
import { WireWriter } from './wire-writer.ts';

/** Finds a loaded type by its full name. `isBare` is true if its JSON is an object of its fields. */
export type FindType = (name: string) => { readonly converter: Converter; readonly isBare: boolean } | undefined;

/**
 * Makes the converter of `google.protobuf.Any`: an ordinary message in bytes; in JSON the message within, with its type
 * in `@type`, or its bytes for a type that is not loaded.
 *
 * The message within is one level deeper, and its bytes take from the budget, as they are read or written again for
 * each `Any` around them.
 */
export function anyConverter(base: Converter, find: FindType): Converter {
  return {
    name: base.name,
    write: (writer, value, depth) => base.write(writer, value, depth),
    read: (reader, depth, before) => base.read(reader, depth, before),
    toJson(value, depth, budget) {
      budget.checkDepth(depth);
      const { typeUrl, value: bytes } = base.toJson(value, depth, budget) as { typeUrl?: string; value?: unknown };
      if (typeUrl === undefined) return {};
      const found = find(typeName(typeUrl));
      if (!found) return { '@type': typeUrl, ...(bytes !== undefined && { value: bytes }) };
      const message = read(found.converter, (value as { value?: Uint8Array }).value, depth + 1, budget);
      const content = found.converter.toJson(message, depth + 1, budget);
      if (!found.isBare) return { '@type': typeUrl, value: content };
      const json: Record<string, unknown> = { '@type': typeUrl };
      for (const [key, part] of Object.entries(content as object)) setOwn(json, key, part);
      return json;
    },
    fromJson(json, depth, budget) {
      budget.checkDepth(depth);
      if (!isRecord(json)) fail(`expected a ${base.name} (a JSON object with "@type"), got ${describeValue(json)}`);
      const { '@type': typeUrl, ...rest } = json;
      if (typeUrl === undefined && Object.keys(rest).length === 0) return base.fromJson({}, depth, budget);
      if (typeof typeUrl !== 'string') fail(`expected the URL of a type, got ${describeValue(typeUrl)}`, '["@type"]');
      const found = find(typeName(typeUrl));
      if (found) {
        const content = found.converter.fromJson(found.isBare ? rest : rest['value'], depth + 1, budget);
        return { typeUrl, value: written(found.converter, content, depth + 1, budget) };
      }
      const isOpaque = Object.keys(rest).every((key) => key === 'value');
      if (!isOpaque)
        fail(
          `the type ${describeValue(typeUrl)} is not among those that were loaded; load its .proto, or give its bytes as "value"${budget.form === 'text' ? ' in base64' : ''}`,
        );
      return base.fromJson({ typeUrl, value: rest['value'] }, depth, budget);
    },
  };
}

function read(converter: Converter, bytes: Uint8Array = new Uint8Array(0), depth: number, budget: Budget): unknown {
  budget.takeBytes(bytes.length);
  const reader = new WireReader().limit(budget);
  reader.left = budget.left;
  reader.reset(bytes);
  const value = converter.read(reader, depth, undefined);
  budget.left = reader.left;
  return value;
}

function written(converter: Converter, value: unknown, depth: number, budget: Budget): Uint8Array {
  const writer = new WireWriter();
  writer.limitDepth(budget);
  converter.write(writer, value, depth);
  const bytes = writer.finish();
  budget.takeBytes(bytes.length);
  return new Uint8Array(bytes);
}

function typeName(url: string): string {
  return url.slice(url.lastIndexOf('/') + 1);
}

/** Makes the converter of `google.protobuf.FieldMask`: in JSON it is one string of camelCase paths. */
export function fieldMaskConverter(base: Converter): Converter {
  return {
    name: base.name,
    write: (writer, value, depth) => base.write(writer, value, depth),
    read: (reader, depth, before) => base.read(reader, depth, before),
    toJson(value, depth, budget) {
      const { paths = [] } = base.toJson(value, depth, budget) as { paths?: readonly string[] };
      return paths
        .map((path) => {
          const json = camel(path);
          return snake(json) === path
            ? json
            : fail(`the path ${describeValue(path)} has no form in JSON: it must be of lower_case_names`, 'paths');
        })
        .join(',');
    },
    fromJson(json, _depth, budget) {
      if (typeof json !== 'string') fail(`expected paths with commas between them, got ${describeValue(json)}`);
      if (json.includes('_')) fail(`expected camelCase paths, got ${describeValue(json)}`);
      budget.take(partsOf(json));
      return { paths: json === '' ? [] : json.split(',').map(snake) };
    },
  };
}

/** Makes the converter of `google.protobuf.Empty`: a handler that returns nothing gives one. */
export function emptyConverter(base: Converter): Converter {
  return {
    name: base.name,
    write: (writer, value, depth) => base.write(writer, value ?? {}, depth),
    read: (reader, depth, before) => base.read(reader, depth, before),
    toJson: (value, depth, budget) => base.toJson(value ?? {}, depth, budget),
    fromJson: (json, depth, budget) => base.fromJson(json, depth, budget),
  };
}

/** Counts the words of paths: each takes one element, as an item of a list does. */
function partsOf(paths: string): number {
  let parts = 1;
  for (let index = 0; index < paths.length; index += 1) {
    const unit = paths.charCodeAt(index);
    if (unit === 0x2c || (unit >= 0x41 && unit <= 0x5a)) parts += 1;
  }
  return parts;
}

function camel(path: string): string {
  return path.split('.').map(propertyName).join('.');
}

function snake(path: string): string {
  return path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
