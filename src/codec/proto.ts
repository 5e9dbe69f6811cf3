import { resolve } from 'node:path';
import { inject, injectable, optional } from 'inversify';
import protobuf from 'protobufjs';

import { Code, TenonError } from '../errors/errors.ts';
import type { MethodDescriptor, MethodKind, ProtoType, Schema } from '../pipeline/pipeline.ts';
import { type Marshaler, MessageLimits } from './codec.ts';
import { fileDescriptorsOf } from './internal/file-descriptors.ts';
import type { Int64 } from './internal/generate-reader.ts';
import { assertLimits } from './internal/limits.ts';
import { bareName } from './internal/message-fields.ts';
import { type ParsedProto, parseProtos, sourcePath } from './internal/parse-protos.ts';
import { ProtoTypes } from './internal/proto-types.ts';

const contentType = 'application/grpc+proto';

/** Options of {@link loadProto}. */
export interface LoadProtoOptions {
  /** Directories to search for imports, before that of the importing file. @default none */
  readonly includeDirs?: readonly string[] | undefined;
  /**
   * The type of 64-bit integers in values. With `number`, an integer that is not safe is refused.
   * @default 'bigint'
   */
  readonly int64?: Int64 | undefined;
}

/** A service of a `.proto`. */
export interface ProtoService {
  /** Full name of the service: `greeter.Greeter`. */
  readonly fullName: string;
  readonly methods: readonly MethodDescriptor[];
}

/** One or more `.proto` files, loaded with what they import. */
export interface ProtoFile {
  /** Package of the first file; empty if it has none. */
  readonly package: string;
  /** The services of the files themselves, without those of their imports. */
  readonly services: readonly ProtoService[];
  /**
   * Every file, each behind those it imports, as serialized `google.protobuf.FileDescriptorProto`: what reflection
   * serves.
   */
  readonly fileDescriptors: readonly Uint8Array[];
  /** Finds a message type by its full name, in these files and their imports. */
  type(name: string): ProtoType | undefined;
  /** Finds a service of these files by its full name. */
  service(name: string): ProtoService | undefined;
}

const loaded = new Map<string, ProtoFile>();

/**
 * Loads `.proto` files, synchronously, so that decorators can use it. Google's well-known types come with tenon. The
 * same files with the same options are loaded once.
 *
 * Throws INVALID_ARGUMENT: `codec.proto_not_found` for a file or an import that cannot be read, `codec.proto_invalid`
 * with file and line for what does not parse or refers to nothing.
 *
 * @example
 * ```ts
 * const greeter = loadProto(new URL('./greeter.proto', import.meta.url));
 * const bytes = greeter.type('greeter.HelloRequest')?.encode({ name: 'you' });
 * ```
 */
export function loadProto(source: string | URL | readonly (string | URL)[], options: LoadProtoOptions = {}): ProtoFile {
  const paths = (Array.isArray(source) ? source : [source]).map((one: string | URL) => sourcePath(one));
  const includeDirs = (options.includeDirs ?? []).map((directory) => resolve(directory));
  const int64 = options.int64 ?? 'bigint';
  const key = JSON.stringify([paths, includeDirs, int64]);
  const known = loaded.get(key);
  if (known) return known;
  const file = describeFile(parseProtos(paths, includeDirs), int64);
  loaded.set(key, file);
  return file;
}

function describeFile(parsed: ParsedProto, int64: Int64): ProtoFile {
  let descriptors: readonly Uint8Array[] | undefined;
  const fileDescriptors = (): readonly Uint8Array[] => (descriptors ??= fileDescriptorsOf(parsed));
  const types = new ProtoTypes(parsed.root, int64, fileDescriptors);
  const ours = new Set(parsed.sources.map((file) => file.path));
  const services = servicesIn(parsed.root)
    .filter((service) => service.filename !== null && ours.has(service.filename))
    .map((service) => describeService(service, types));
  const byName = new Map(services.map((service) => [service.fullName, service]));
  return {
    package: parsed.sources[0]?.package ?? '',
    services,
    get fileDescriptors() {
      return fileDescriptors();
    },
    type: (name) => types.find(name),
    service: (name) => byName.get(name),
  };
}

function servicesIn(namespace: protobuf.NamespaceBase): protobuf.Service[] {
  return namespace.nestedArray.flatMap((nested) => {
    if (nested instanceof protobuf.Service) return [nested];
    return nested instanceof protobuf.Namespace && !(nested instanceof protobuf.Type) ? servicesIn(nested) : [];
  });
}

function describeService(service: protobuf.Service, types: ProtoTypes): ProtoService {
  const fullName = bareName(service);
  return { fullName, methods: service.methodsArray.map((method) => describeMethod(fullName, method, types)) };
}

function describeMethod(service: string, method: protobuf.Method, types: ProtoTypes): MethodDescriptor {
  return {
    service,
    method: method.name,
    path: `/${service}/${method.name}`,
    aliases: [],
    kind: kindOf(Boolean(method.requestStream), Boolean(method.responseStream)),
    input: schemaOf(method.resolvedRequestType, types),
    output: schemaOf(method.resolvedResponseType, types),
    idempotent: ['NO_SIDE_EFFECTS', 'IDEMPOTENT'].includes(String(method.options?.['idempotency_level'])),
    defaultContentType: contentType,
  };
}

function kindOf(clientStreams: boolean, serverStreams: boolean): MethodKind {
  if (clientStreams) return serverStreams ? 'bidi' : 'client';
  return serverStreams ? 'server' : 'unary';
}

function schemaOf(type: protobuf.Type | null, types: ProtoTypes): Schema {
  // The type is there: loading fails for a reference that cannot be resolved.
  const proto = types.of(type as protobuf.Type);
  return { name: proto.name, proto };
}

/** Converts messages of methods with a `.proto` to Protocol Buffers. docs/codec.md has the mapping of values. */
@injectable()
export class ProtoMarshaler implements Marshaler {
  readonly contentType = contentType;
  readonly #limits: MessageLimits;

  constructor(@inject(MessageLimits) @optional() limits: MessageLimits = {}) {
    assertLimits(limits);
    this.#limits = limits;
  }

  marshal(schema: Schema, value: unknown): Uint8Array {
    return (schema.proto ?? noProto(schema)).encode(value, this.#limits);
  }

  unmarshal(schema: Schema, bytes: Uint8Array): unknown {
    return (schema.proto ?? noProto(schema)).decode(bytes, this.#limits);
  }
}

function noProto(schema: Schema): never {
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'codec.no_proto',
    message: `${schema.name} has no .proto, so ${contentType} cannot carry it. Give the handler its .proto, or use application/grpc+json`,
  });
}
