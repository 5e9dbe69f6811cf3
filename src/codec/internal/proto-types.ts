import protobuf from 'protobufjs';

import type { ProtoField, ProtoType } from '../../pipeline/pipeline.ts';
import type { Converter } from './converter.ts';
import type { Int64 } from './generate-reader.ts';
import { anyConverter, emptyConverter, fieldMaskConverter } from './well-known-json.ts';
import { MessageConverter } from './message-converter.ts';
import { bareName, type Field, fieldsOf } from './message-fields.ts';
import { ProtoMessageType } from './proto-message-type.ts';
import { wellKnownConverters } from './well-known.ts';

/** The message types of one loaded `.proto` and its imports. Each is made once, when it is first asked for. */
export class ProtoTypes {
  readonly #root: protobuf.Root;
  readonly #int64: Int64;
  #byName: ReadonlyMap<string, protobuf.Type> | undefined;
  readonly #made = new Map<protobuf.Type, { readonly converter: Converter; readonly type: ProtoType }>();
  readonly #wellKnown: ReadonlyMap<string, Converter>;

  readonly #files: () => readonly Uint8Array[] | undefined;

  constructor(root: protobuf.Root, int64: Int64, files: () => readonly Uint8Array[] | undefined = () => undefined) {
    this.#files = files;
    this.#root = root;
    this.#int64 = int64;
    this.#wellKnown = new Map(wellKnownConverters(int64).map((converter) => [converter.name, converter]));
  }

  of(type: protobuf.Type): ProtoType {
    return this.#make(type).type;
  }

  /** Finds a type by its full name, with or without a leading dot. */
  find(name: string): ProtoType | undefined {
    const found = this.#reflection(name);
    return found && this.of(found);
  }

  #reflection(name: string): protobuf.Type | undefined {
    // Not by protobufjs's look-up, which caches each name that it does not find: the name may come from a peer.
    this.#byName ??= new Map(typesIn(this.#root).map((type) => [bareName(type), type]));
    return this.#byName.get(name.startsWith('.') ? name.slice(1) : name);
  }

  #make(type: protobuf.Type): { readonly converter: Converter; readonly type: ProtoType } {
    const made = this.#made.get(type);
    if (made) return made;
    const fields = once(() => fieldsOf(type, (other) => this.#make(other).converter));
    const converter = this.#converter(bareName(type), fields);
    const descriptions = once(() => describe(type, fields(), (other) => this.of(other)));
    const fresh = { converter, type: new ProtoMessageType(converter, descriptions, this.#files) };
    this.#made.set(type, fresh);
    return fresh;
  }

  #converter(name: string, fields: () => readonly Field[]): Converter {
    const special = this.#wellKnown.get(name);
    if (special) return special;
    const ordinary = new MessageConverter(name, fields, this.#int64);
    if (name === 'google.protobuf.FieldMask') return fieldMaskConverter(ordinary);
    if (name === 'google.protobuf.Empty') return emptyConverter(ordinary);
    if (name !== 'google.protobuf.Any') return ordinary;
    return anyConverter(ordinary, (wanted) => {
      const found = this.#reflection(wanted);
      if (!found) return undefined;
      const isBare = wanted === 'google.protobuf.Empty' || this.#make(found).converter instanceof MessageConverter;
      return { converter: this.#make(found).converter, isBare };
    });
  }
}

/** Lists every message type, nested ones too. */
function typesIn(namespace: protobuf.NamespaceBase): protobuf.Type[] {
  return namespace.nestedArray.flatMap((nested) => {
    const inside = nested instanceof protobuf.Namespace ? typesIn(nested) : [];
    return nested instanceof protobuf.Type ? [nested, ...inside] : inside;
  });
}

function describe(
  type: protobuf.Type,
  fields: readonly Field[],
  typeOf: (type: protobuf.Type) => ProtoType,
): readonly ProtoField[] {
  const reflected = new Map(type.fieldsArray.map((field) => [field.id, field.resolvedType]));
  return fields.map((field) => {
    const resolved = reflected.get(field.number);
    return {
      name: field.property,
      original: field.original,
      type: field.typeName,
      repeated: field.cardinality === 'repeated',
      map: field.cardinality === 'map',
      get message(): ProtoType | undefined {
        return resolved instanceof protobuf.Type ? typeOf(resolved) : undefined;
      },
    };
  });
}

function once<T extends object>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
