import { ownValue } from '../internal/own.ts';

/** The levels of fields that the description of a message has below the message itself. */
export const describedLevels = 2;

/** Types of protobuf under the names that they have in Go. */
const goTypes: Readonly<Record<string, string>> = {
  double: 'float64',
  float: 'float32',
  sint32: 'int32',
  sfixed32: 'int32',
  fixed32: 'uint32',
  sint64: 'int64',
  sfixed64: 'int64',
  fixed64: 'uint64',
  bytes: '[]uint8',
};

/** A field of a message, as far as its type in Go goes. */
export interface DescribedField {
  /** The name of the type in protobuf. */
  readonly type: string;
  readonly repeated: boolean;
  readonly map: boolean;
}

/** The type of a field as Go Micro's records say it; empty for a map. */
export function fieldType(field: DescribedField): string {
  if (field.map) return '';
  const type = ownValue(goTypes, field.type) ?? field.type.slice(field.type.lastIndexOf('.') + 1);
  if (!field.repeated) return type;
  // Go has no name for a slice of slices, and Go Micro says none.
  return type.startsWith('[]') ? '[]' : `[]${type}`;
}

/** Metadata of the endpoint of a method that streams. */
export const streamMetadata: Readonly<Record<string, string>> = { stream: 'true' };

/** Metadata of the endpoint of a subscription. */
export function subscriberMetadata(topic: string): Readonly<Record<string, string>> {
  return { subscriber: 'true', topic };
}

/** The implementations that a node is made of. */
export interface NodeParts {
  readonly broker: string;
  readonly registry: string;
  readonly transport: string;
}

/** Metadata of a node: the names of its parts. */
export function nodeMetadata({ broker, registry, transport }: NodeParts): Readonly<Record<string, string>> {
  return { broker, registry, server: transport, transport, protocol: transport };
}
