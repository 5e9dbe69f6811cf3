import type { ProtoType } from '../../pipeline/pipeline.ts';
import { setOwn } from '../../internal/own.ts';
import type { Converter } from './converter.ts';
import { propertyName } from './message-fields.ts';
import { isRecord, misfit, show } from './misfit.ts';
import { checkDepth } from './wire-reader.ts';

/** Finds a type by its full name, among those that were loaded. */
export type FindType = (name: string) => { readonly type: ProtoType; readonly isBare: boolean } | undefined;

/**
 * `google.protobuf.Any`: in bytes an ordinary message, in JSON the message in it with its type in `@type`. A type that is
 * not known is kept as base64.
 */
export function anyConverter(base: Converter, find: FindType): Converter {
  return {
    name: base.name,
    write: (writer, value, depth) => base.write(writer, value, depth),
    read: (reader, depth, before) => base.read(reader, depth, before),
    toJson(value, depth) {
      checkDepth(depth);
      const plain = base.toJson(value, depth) as { typeUrl?: string; value?: string };
      if (plain.typeUrl === undefined) return {};
      const found = find(typeName(plain.typeUrl));
      if (!found) return { '@type': plain.typeUrl, ...(plain.value !== undefined && { value: plain.value }) };
      const content = found.type.toJson(
        found.type.decode((value as { value?: Uint8Array }).value ?? new Uint8Array(0)),
      );
      if (!found.isBare) return { '@type': plain.typeUrl, value: content };
      const json: Record<string, unknown> = { '@type': plain.typeUrl };
      for (const [key, part] of Object.entries(content as object)) setOwn(json, key, part);
      return json;
    },
    fromJson(json, depth) {
      checkDepth(depth);
      if (!isRecord(json)) misfit(`expected a ${base.name} (a JSON object with "@type"), got ${show(json)}`);
      const { '@type': typeUrl, ...rest } = json;
      if (typeUrl === undefined && Object.keys(rest).length === 0) return base.fromJson({}, depth);
      if (typeof typeUrl !== 'string') misfit(`expected the URL of a type, got ${show(typeUrl)}`, '["@type"]');
      const found = find(typeName(typeUrl));
      if (found) {
        const content = found.type.fromJson(found.isBare ? rest : rest['value']);
        return { typeUrl, value: new Uint8Array(found.type.encode(content)) };
      }
      const isOpaque = Object.keys(rest).every((key) => key === 'value');
      if (!isOpaque)
        misfit(
          `the type ${show(typeUrl)} is not among those that were loaded; load its .proto, or give its bytes as "value" in base64`,
        );
      return base.fromJson({ typeUrl, value: rest['value'] ?? '' }, depth);
    },
  };
}

function typeName(url: string): string {
  return url.slice(url.lastIndexOf('/') + 1);
}

/** `google.protobuf.FieldMask`: in bytes an ordinary message, in JSON one string of camelCase paths. */
export function fieldMaskConverter(base: Converter): Converter {
  return {
    name: base.name,
    write: (writer, value, depth) => base.write(writer, value, depth),
    read: (reader, depth, before) => base.read(reader, depth, before),
    toJson(value, depth) {
      const { paths = [] } = base.toJson(value, depth) as { paths?: readonly string[] };
      return paths
        .map((path) => {
          const json = camel(path);
          return snake(json) === path
            ? json
            : misfit(`the path ${show(path)} has no form in JSON: it must be of lower_case_names`, 'paths');
        })
        .join(',');
    },
    fromJson(json) {
      if (typeof json !== 'string') misfit(`expected paths with commas between them, got ${show(json)}`);
      if (json.includes('_')) misfit(`expected camelCase paths, got ${show(json)}`);
      return { paths: json === '' ? [] : json.split(',').map(snake) };
    },
  };
}

/** `google.protobuf.Empty`: a handler that returns nothing means it. */
export function emptyConverter(base: Converter): Converter {
  return {
    name: base.name,
    write: (writer, value, depth) => base.write(writer, value ?? {}, depth),
    read: (reader, depth, before) => base.read(reader, depth, before),
    toJson: (value, depth) => base.toJson(value ?? {}, depth),
    fromJson: (json, depth) => base.fromJson(json, depth),
  };
}

function camel(path: string): string {
  return path.split('.').map(propertyName).join('.');
}

function snake(path: string): string {
  return path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
