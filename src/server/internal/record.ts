import { endpointName, typeName } from '../../go-micro/paths.ts';
import { describedLevels, fieldType, streamMetadata, subscriberMetadata } from '../../go-micro/records.ts';
import { ownValue } from '../../internal/own.ts';
import type { MethodDescriptor, ProtoType, Schema } from '../../pipeline/pipeline.ts';
import type { EndpointRecord, ValueRecord } from '../../registry/registry.ts';
import type { EventHandler, ServerHandler } from '../server.ts';

/**
 * Describes methods and subscriptions for the registry, as Go Micro's endpoints with the fields of the real schemas.
 */
export function endpointsOf(
  handlers: readonly ServerHandler[],
  subscribers: readonly EventHandler[],
): readonly EndpointRecord[] {
  const methods = handlers
    .filter((handler) => !handler.internal)
    .flatMap((handler) =>
      handler.methods.map(({ descriptor }) =>
        methodRecord(descriptor, handler.metadata && ownValue(handler.metadata, descriptor.method)),
      ),
    );
  const byTopic = [...subscribers].sort((a, b) => (a.topic > b.topic ? -1 : 1));
  return [...methods.sort((a, b) => (a.name < b.name ? -1 : 1)), ...byTopic.map(subscriberRecord)];
}

function methodRecord(method: MethodDescriptor, metadata: Readonly<Record<string, string>> = {}): EndpointRecord {
  return {
    name: endpointName(method.service, method.method),
    request: valueOf(method.input),
    response: valueOf(method.output),
    metadata: method.kind === 'unary' ? metadata : { ...metadata, ...streamMetadata },
  };
}

function subscriberRecord(handler: EventHandler): EndpointRecord {
  return {
    name: handler.descriptor.method,
    request: valueOf(handler.descriptor.input),
    metadata: subscriberMetadata(handler.topic),
  };
}

function valueOf(schema: Schema): ValueRecord | undefined {
  if (schema.proto) return messageValue(schema.proto.name, schema.proto, 0);
  return schema.name === 'any' ? undefined : { name: schema.name, type: schema.name, values: [] };
}

function messageValue(name: string, type: ProtoType, depth: number): ValueRecord {
  const shortName = typeName(type.name);
  const values = depth >= describedLevels ? [] : type.fields.map((field) => fieldValue(field, depth));
  return { name: depth === 0 ? shortName : name, type: shortName, values };
}

function fieldValue(field: ProtoType['fields'][number], depth: number): ValueRecord {
  if (field.message && !field.map && !field.repeated) return messageValue(field.original, field.message, depth + 1);
  return { name: field.original, type: fieldType(field), values: [] };
}
