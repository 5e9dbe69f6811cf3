import { createRequire } from 'node:module';
import type { DescMessage, Registry } from '@bufbuild/protobuf';
import type { Validator, Violation } from '@bufbuild/protovalidate';

import type { FieldViolation } from '../errors/details.ts';
import { Code, TenonError, textOf } from '../errors/errors.ts';
import type { Interceptor, MethodDescriptor, ProtoType } from '../pipeline/pipeline.ts';
import { requestInterceptor } from '../pipeline/enhancer-interceptors.ts';
import { invalidInput } from '../pipeline/validation.ts';

const rulesFile = 'buf/validate/validate.proto';
const packages = ['@bufbuild/protobuf', '@bufbuild/protovalidate'];

/**
 * Makes an interceptor, for either side, that checks requests, each request of a stream, and events by the rules in
 * their `.proto` (https://protovalidate.com). A message that breaks a rule is INVALID_ARGUMENT (`call.invalid_input`)
 * with a `BadRequest` whose reason is the rule's id: `STRING_MIN_LEN`. Methods whose messages have no rules pay
 * nothing.
 *
 * The `.proto` imports `buf/validate/validate.proto`, which comes with tenon. The rules are run by
 * `@bufbuild/protovalidate`, which is loaded when a method with rules is prepared, as the service starts:
 * FAILED_PRECONDITION (`app.package_missing`) without it, INVALID_ARGUMENT (`codec.proto_invalid`) for rules that do
 * not compile.
 *
 * @example
 * ```ts
 * @Service({ name: 'greeter', handlers: [], interceptors: [protovalidate()] })
 * class Greeter {}
 * ```
 */
export function protovalidate(): Interceptor {
  // The files of a `.proto` are read once for all of its methods.
  const known = new WeakMap<readonly Uint8Array[], Rules>();
  return (next, method) => {
    const type = method.input.proto;
    const files = type?.fileDescriptors;
    if (!type || !files?.some((bytes) => Buffer.from(bytes).includes(rulesFile))) return next;
    let rules = known.get(files);
    if (!rules) known.set(files, (rules = new Rules(files)));
    const check = rules.checkOf(type, method);
    if (!check) return next;
    return requestInterceptor(check)(next, method);
  };
}

interface Libraries {
  readonly protobuf: typeof import('@bufbuild/protobuf');
  readonly wellKnown: typeof import('@bufbuild/protobuf/wkt');
  readonly reflect: typeof import('@bufbuild/protobuf/reflect');
  readonly protovalidate: typeof import('@bufbuild/protovalidate');
  readonly options: typeof import('@bufbuild/protovalidate/gen/buf/validate/validate_pb.js');
}

/** Loads the libraries synchronously, as interceptors are composed synchronously. */
function load(): Libraries {
  try {
    const require = createRequire(import.meta.url);
    return {
      protobuf: require('@bufbuild/protobuf') as Libraries['protobuf'],
      wellKnown: require('@bufbuild/protobuf/wkt') as Libraries['wellKnown'],
      reflect: require('@bufbuild/protobuf/reflect') as Libraries['reflect'],
      protovalidate: require('@bufbuild/protovalidate') as Libraries['protovalidate'],
      options: require('@bufbuild/protovalidate/gen/buf/validate/validate_pb.js') as Libraries['options'],
    };
  } catch (error) {
    throw new TenonError({
      code: Code.FailedPrecondition,
      reason: 'app.package_missing',
      message: `protovalidate() needs packages that cannot be loaded: npm install ${packages.join(' ')} (${textOf(error)})`,
      cause: error,
    });
  }
}

/** The validation rules in the files of one `.proto`. */
class Rules {
  readonly #libraries: Libraries;
  readonly #registry: Registry;
  readonly #validator: Validator;

  constructor(files: readonly Uint8Array[]) {
    this.#libraries = load();
    const { protobuf, wellKnown } = this.#libraries;
    const file = files.map((bytes) => protobuf.fromBinary(wellKnown.FileDescriptorProtoSchema, bytes));
    this.#registry = protobuf.createFileRegistry(protobuf.create(wellKnown.FileDescriptorSetSchema, { file }));
    this.#validator = this.#libraries.protovalidate.createValidator({ registry: this.#registry });
  }

  /** Makes the function that checks a value and returns it; `undefined` for a message without rules. */
  checkOf(type: ProtoType, method: MethodDescriptor): ((value: unknown) => unknown) | undefined {
    const { protobuf } = this.#libraries;
    const schema = this.#registry.getMessage(type.name);
    if (!schema || !this.#hasRules(schema, new Set())) return undefined;
    const trial = this.#validator.validate(schema, protobuf.create(schema));
    if (trial.kind === 'error' && trial.error.name === 'CompilationError') throw badRules(type, trial.error);
    return (value) => {
      const result = this.#validator.validate(schema, protobuf.fromBinary(schema, type.encode(value)));
      if (result.kind === 'valid') return value;
      if (result.kind === 'error') throw result.error;
      throw invalidInput(
        method.path,
        result.violations.map((violation) => this.#fieldViolation(violation)),
      );
    };
  }

  #fieldViolation({ field, message, ruleId }: Violation): FieldViolation {
    return {
      field: this.#libraries.reflect.pathToString(field),
      description: message,
      reason: ruleId.replace(/\W+/g, '_').toUpperCase(),
    };
  }

  /** True if the message, or one that it may contain, has rules. */
  #hasRules(schema: DescMessage, seen: Set<DescMessage>): boolean {
    if (seen.has(schema)) return false;
    seen.add(schema);
    const { protobuf, options } = this.#libraries;
    return (
      protobuf.hasOption(schema, options.message) ||
      schema.oneofs.some((oneof) => protobuf.hasOption(oneof, options.oneof)) ||
      schema.fields.some(
        (field) =>
          protobuf.hasOption(field, options.field) ||
          (field.message !== undefined && this.#hasRules(field.message, seen)),
      )
    );
  }
}

function badRules(type: ProtoType, cause: Error): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'codec.proto_invalid',
    message: `the rules of ${type.name} do not compile: ${textOf(cause)}. Correct them in its .proto`,
    cause,
  });
}
