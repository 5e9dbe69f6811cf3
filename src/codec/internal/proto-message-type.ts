import type { JsonForm, MessageLimits, ProtoField, ProtoType } from '../../pipeline/pipeline.ts';
import type { Converter } from './converter.ts';
import { Budget } from './limits.ts';
import { decodeFailure, describeValue, encodeFailure, fail } from './codec-errors.ts';
import { WireReader } from './wire-reader.ts';
import { WireWriter } from './wire-writer.ts';

/** The writer of all encodes. It is absent while in use, as a getter of a value may call `encode` itself. */
let idleWriter: WireWriter | undefined;
/** The reader of all decodes: no code of the caller runs during one. */
const reader = new WireReader();

/** A message type of a loaded `.proto`: a converter whose errors become TenonErrors. */
export class ProtoMessageType implements ProtoType {
  readonly name: string;
  readonly #converter: Converter;
  readonly #fieldsOf: () => readonly ProtoField[];
  readonly #filesOf: () => readonly Uint8Array[] | undefined;

  constructor(
    converter: Converter,
    fieldsOf: () => readonly ProtoField[],
    filesOf: () => readonly Uint8Array[] | undefined,
  ) {
    this.name = converter.name;
    this.#converter = converter;
    this.#fieldsOf = fieldsOf;
    this.#filesOf = filesOf;
  }

  get fileDescriptors(): readonly Uint8Array[] | undefined {
    return this.#filesOf();
  }

  get fields(): readonly ProtoField[] {
    return this.#fieldsOf();
  }

  encode(value: unknown, limits?: MessageLimits): Uint8Array {
    const writer = idleWriter ?? new WireWriter();
    writer.limitDepth(limits);
    idleWriter = undefined;
    try {
      this.#converter.write(writer, value, 0);
      return writer.finish();
    } catch (error) {
      writer.abandon();
      throw encodeFailure(this.name, error);
    } finally {
      idleWriter = writer;
    }
  }

  decode(bytes: Uint8Array, limits?: MessageLimits): unknown {
    try {
      if (!(bytes instanceof Uint8Array)) fail(`expected bytes, got ${describeValue(bytes)}`);
      reader.limit(limits).reset(bytes);
      return this.#converter.read(reader, 0, undefined);
    } catch (error) {
      throw decodeFailure(this.name, error);
    } finally {
      reader.clear();
    }
  }

  toJson(value: unknown, limits?: MessageLimits, form?: JsonForm): unknown {
    try {
      return this.#converter.toJson(value, 0, budgetOf(limits, form));
    } catch (error) {
      throw encodeFailure(this.name, error);
    }
  }

  fromJson(json: unknown, limits?: MessageLimits, form?: JsonForm): unknown {
    try {
      return this.#converter.fromJson(json, 0, budgetOf(limits, form));
    } catch (error) {
      throw decodeFailure(this.name, error);
    }
  }
}

function budgetOf(limits: MessageLimits | undefined, form: JsonForm = 'text'): Budget {
  const budget = new Budget().limit(limits);
  budget.form = form;
  return budget;
}
