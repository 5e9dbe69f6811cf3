import type { ProtoFile, ProtoService } from '../codec/proto.ts';
import { clientSourceOf, type ClientSource, type Contract, type ContractMethod } from '../client/client-of.ts';
import {
  type AnyClass,
  type Class,
  type HandlerRecord,
  handlerOf,
  type MessageSchema,
  type ProtoSource,
  type RpcRecord,
  rpcsOf,
  type SubscribeRecord,
  subscriptionsOf,
} from '../decorators/decorators.ts';
import { TenonError, textOf } from '../errors/errors.ts';
import { didYouMean } from '../internal/suggest.ts';
import {
  anySchema,
  type Interceptor,
  type MethodDescriptor,
  type MethodKind,
  type Schema,
} from '../pipeline/pipeline.ts';
import type { EventHandlerOptions } from '../server/server.ts';

/** A problem in how an application is put together. */
export interface Problem {
  /** Stable name of the rule that was broken: `missing-binding`. */
  readonly kind: string;
  /** The class, method, binding or file that has the problem. */
  readonly where: string;
  readonly message: string;
  /** The remedy. */
  readonly fix: string;
}

/**
 * Reads a `.proto`. It is `loadProto` of `tenon/codec/proto`, passed in so that this module does not load protobufjs.
 */
export type ProtoLoader = (source: ProtoSource) => ProtoFile;

/** A method of a handler class, ready to be served. */
export interface MethodDescription {
  readonly descriptor: MethodDescriptor;
  readonly property: string;
  readonly interceptors: readonly Interceptor[];
}

/** A subscription of a handler class. */
export interface SubscriptionDescription {
  readonly descriptor: MethodDescriptor;
  readonly property: string;
  readonly topic: string;
  readonly options: EventHandlerOptions;
  readonly interceptors: readonly Interceptor[];
}

/**
 * The methods and subscriptions of a handler class, from its decorators and its `.proto`. If there are problems, it has
 * only what could be read.
 */
export interface HandlerDescription {
  readonly target: Class;
  /** Full service name; empty for a class that only subscribes. */
  readonly name: string;
  /** The service name that its clients look up in the registry. */
  readonly service: string;
  readonly internal: boolean;
  readonly proto: ProtoFile | undefined;
  readonly methods: readonly MethodDescription[];
  readonly subscriptions: readonly SubscriptionDescription[];
  readonly problems: readonly Problem[];
}

/** Describes a handler class. Never throws: `problems` lists what is wrong. */
export function describeHandler(target: Class, loadProto: ProtoLoader): HandlerDescription {
  const problems: Problem[] = [];
  const record = handlerOf(target);
  if (!record) {
    problems.push({
      kind: 'not-a-handler',
      where: target.name,
      message: `${target.name} is listed in handlers, but has no @Handler decorator`,
      fix: `decorate it: @Handler('package.Service') class ${target.name}`,
    });
    return {
      target,
      name: '',
      service: '',
      internal: false,
      proto: undefined,
      methods: [],
      subscriptions: [],
      problems,
    };
  }
  const proto = record.proto === undefined ? undefined : readProto(target, record.proto, loadProto, problems);
  const methods = describeMethods(target, record, proto, problems);
  const subscriptions = subscriptionsOf(target).map((subscription) =>
    describeSubscription(target, record, subscription, proto, problems),
  );
  if (rpcsOf(target).length === 0 && subscriptions.length === 0) {
    problems.push({
      kind: 'empty-handler',
      where: target.name,
      message: `${target.name} has @Handler, but no method with @Rpc or @Subscribe`,
      fix: 'decorate the methods that answer calls with @Rpc(), those that handle events with @Subscribe(topic)',
    });
  }
  const name = record.name ?? '';
  return {
    target,
    name,
    service: record.service ?? packageOf(name),
    internal: record.internal,
    proto,
    methods,
    subscriptions,
    problems,
  };
}

/** The methods of a typed client by property name, and the service name that it looks up in the registry. */
export interface ClientDescription {
  readonly name: string;
  readonly service: string;
  readonly methods: ReadonlyMap<string, MethodDescriptor>;
  readonly problems: readonly Problem[];
}

/** Describes the client of an argument of `clientOf`. Never throws: `problems` lists what is wrong. */
export function describeClient(source: ClientSource, loadProto: ProtoLoader): ClientDescription {
  if (typeof source === 'function') return describeClassClient(source as AnyClass, loadProto);
  if ('proto' in source) {
    const problems: Problem[] = [];
    const where = `clientOf(${source.name})`;
    const file = readProtoAt(where, source.proto, loadProto, problems);
    const service = file && findService(where, source.name, file, source.proto, problems);
    const methods = new Map(
      service?.methods.map((method) => {
        const property = propertyName(method.method);
        return [property === 'then' ? method.method : property, method];
      }),
    );
    return { name: source.name, service: source.service ?? packageOf(source.name), methods, problems };
  }
  return describeContract(source);
}

/** The source of a `clientOf` key; `undefined` for other keys. */
export { clientSourceOf };

/** The package of a full name: `greeter` of `greeter.Greeter`. A name without a package is returned as it is. */
export function packageOf(name: string): string {
  const dot = name.lastIndexOf('.');
  return dot < 0 ? name : name.slice(0, dot);
}

/** Makes a schema from the validator or class that `@Rpc` and `@Subscribe` take. */
export function schemaOf(source: MessageSchema | undefined): Schema | undefined {
  if (source === undefined) return undefined;
  if ('~standard' in source) {
    const standard = source['~standard'];
    return { name: `${standard.vendor} schema`, validate: (value) => standard.validate(value) };
  }
  return { name: source.name };
}

function describeClassClient(source: AnyClass, loadProto: ProtoLoader): ClientDescription {
  if (!handlerOf(source)?.name) {
    const where = `clientOf(${source.name})`;
    const message = `${source.name} has no @Handler with a name, so there is nothing to call`;
    const fix = 'give the class of a handler, a contract(...), or { proto, name }';
    return {
      name: source.name,
      service: '',
      methods: new Map(),
      problems: [{ kind: 'not-a-handler', where, message, fix }],
    };
  }
  const { name, service, methods, problems } = describeHandler(source as unknown as Class, loadProto);
  const described = new Map(methods.map((method) => [method.property, method.descriptor]));
  return { name, service, methods: described, problems };
}

function describeContract(source: Contract<unknown>): ClientDescription {
  const methods = new Map(
    Object.entries(source.methods).map(([property, method]: [string, ContractMethod]) => [
      property,
      jsonDescriptor(
        source.name,
        method.name ?? wireName(property),
        method.stream ?? 'unary',
        method.idempotent ?? false,
      ),
    ]),
  );
  const problems = thenables(`contract(${source.name})`, methods.keys());
  return { name: source.name, service: source.service ?? packageOf(source.name), methods, problems };
}

/**
 * Problems of methods named `then`. `await` takes an object with such a method for a promise, so a handler or a client
 * with one could not be returned from an async function.
 */
function thenables(where: string, properties: Iterable<string>): readonly Problem[] {
  return [...properties]
    .filter((property) => property === 'then')
    .map((property) => ({
      kind: 'thenable-method',
      where: `${where}.${property}`,
      message: `${where} has a method named then, so await takes it for a promise`,
      fix: "name it otherwise, and give the name on the wire apart: { name: 'Then' }",
    }));
}

function describeMethods(
  target: Class,
  record: HandlerRecord,
  proto: ProtoFile | undefined,
  problems: Problem[],
): readonly MethodDescription[] {
  const rpcs = rpcsOf(target);
  problems.push(
    ...thenables(
      target.name,
      rpcs.map(({ property }) => property),
    ),
  );
  const name = record.name;
  if (name === undefined) {
    for (const rpc of rpcs) {
      problems.push({
        kind: 'nameless-handler',
        where: `${target.name}.${rpc.property}`,
        message: `${target.name} has @Rpc methods, but its @Handler has no name to call them by`,
        fix: `name the service: @Handler('package.${target.name}')`,
      });
    }
    return [];
  }
  const interceptors = (rpc: RpcRecord): readonly Interceptor[] => [...record.interceptors, ...rpc.interceptors];
  if (record.proto === undefined) {
    return rpcs.map((rpc) => ({
      descriptor: describeJson(target, name, rpc, problems),
      property: rpc.property,
      interceptors: interceptors(rpc),
    }));
  }
  const service = proto && findService(target.name, name, proto, record.proto, problems);
  if (!service) return [];
  const found = matchMethods(target, service, rpcs, record, problems);
  return found.map(({ rpc, descriptor }) => ({ descriptor, property: rpc.property, interceptors: interceptors(rpc) }));
}

function matchMethods(
  target: Class,
  service: ProtoService,
  rpcs: readonly RpcRecord[],
  { proto: file = '', unimplemented }: HandlerRecord,
  problems: Problem[],
): { readonly rpc: RpcRecord; readonly descriptor: MethodDescriptor }[] {
  const byName = new Map(service.methods.map((method) => [method.method, method]));
  const found: { rpc: RpcRecord; descriptor: MethodDescriptor }[] = [];
  for (const rpc of rpcs) {
    const where = `${target.name}.${rpc.property}`;
    const method = byName.get(rpc.name ?? wireName(rpc.property));
    if (!method) {
      problems.push({
        kind: 'unknown-method',
        where,
        message: `${service.fullName} in ${fileName(file)} has no method ${rpc.name ?? wireName(rpc.property)}.${didYouMean(rpc.name ?? wireName(rpc.property), byName.keys())}`,
        fix: 'add it to the .proto, rename the method, or name it with @Rpc({ name })',
      });
      continue;
    }
    byName.delete(method.method);
    const seen =
      rpc.kind ??
      (isAsyncGenerator(target, rpc.property) && (method.kind === 'unary' || method.kind === 'client')
        ? 'server'
        : method.kind);
    if (seen !== method.kind) {
      problems.push({
        kind: 'kind-mismatch',
        where,
        message: `${service.fullName}.${method.method} is ${kindText(method.kind)} method in ${fileName(file)}, but ${kindText(seen)} method here`,
        fix: `write ${method.kind === 'unary' ? '@Rpc()' : `@Rpc({ stream: '${method.kind}' })`} and give the method that shape, or change the .proto`,
      });
      continue;
    }
    found.push({ rpc, descriptor: rpc.idempotent === undefined ? method : { ...method, idempotent: rpc.idempotent } });
  }
  for (const method of unimplemented) {
    if (byName.delete(method)) continue;
    const isThere = service.methods.some((one) => one.method === method);
    problems.push({
      kind: 'unknown-method',
      where: target.name,
      message: `@Handler on ${target.name} leaves ${method} unimplemented, ${isThere ? `and ${target.name} has an @Rpc method for it` : `which ${service.fullName} in ${fileName(file)} does not have.${didYouMean(method, byName.keys())}`}`,
      fix: 'take it out of unimplemented, or name a method of the .proto as it stands there',
    });
  }
  for (const method of byName.keys()) {
    problems.push({
      kind: 'missing-method',
      where: target.name,
      message: `${service.fullName}.${method} is in ${fileName(file)}, but ${target.name} has no @Rpc method for it`,
      fix: `add @Rpc() ${propertyName(method)}(…) to ${target.name}, or name it in unimplemented of its @Handler`,
    });
  }
  return found;
}

function describeJson(target: Class, service: string, rpc: RpcRecord, problems: Problem[]): MethodDescriptor {
  const kind = rpc.kind ?? 'unary';
  if (isAsyncGenerator(target, rpc.property) && (kind === 'unary' || kind === 'client')) {
    problems.push({
      kind: 'kind-mismatch',
      where: `${target.name}.${rpc.property}`,
      message: `${target.name}.${rpc.property} is an async generator, but ${kindText(kind)} method by its @Rpc`,
      fix: "say which side streams: @Rpc({ stream: 'server' }), or 'bidi' if it also takes a stream",
    });
  }
  const descriptor = jsonDescriptor(service, rpc.name ?? wireName(rpc.property), kind, rpc.idempotent ?? false);
  return { ...descriptor, input: schemaOf(rpc.input) ?? anySchema, output: schemaOf(rpc.output) ?? anySchema };
}

function describeSubscription(
  target: Class,
  record: HandlerRecord,
  subscription: SubscribeRecord,
  proto: ProtoFile | undefined,
  problems: Problem[],
): SubscriptionDescription {
  const where = `${target.name}.${subscription.property}`;
  let input = schemaOf(subscription.schema) ?? anySchema;
  if (subscription.message !== undefined) {
    const type = proto?.type(subscription.message);
    if (type) input = { name: type.name, proto: type };
    else if (proto || record.proto === undefined) {
      problems.push({
        kind: 'unknown-message',
        where,
        message:
          record.proto === undefined
            ? `@Subscribe("${subscription.topic}") names the message ${subscription.message}, but ${target.name} has no .proto`
            : `@Subscribe("${subscription.topic}") names the message ${subscription.message}, which is not in ${fileName(record.proto)}`,
        fix: 'name a message of the .proto by its full name, or give a schema',
      });
    }
  }
  const descriptor: MethodDescriptor = {
    // The server replaces this by its own name.
    service: record.name ?? target.name,
    method: where,
    topic: subscription.topic,
    path: `${subscription.topic} → ${where}`,
    aliases: [],
    kind: 'event',
    input,
    output: anySchema,
    idempotent: false,
    defaultContentType: input.proto ? 'application/protobuf' : 'application/json',
  };
  return {
    descriptor,
    property: subscription.property,
    topic: subscription.topic,
    options: subscription.options,
    interceptors: [...record.interceptors, ...subscription.interceptors],
  };
}

function jsonDescriptor(service: string, method: string, kind: MethodKind, idempotent: boolean): MethodDescriptor {
  return {
    service,
    method,
    path: `/${service}/${method}`,
    aliases: [],
    kind,
    input: anySchema,
    output: anySchema,
    idempotent,
    defaultContentType: 'application/grpc+json',
  };
}

function readProto(
  target: Class,
  source: ProtoSource,
  loadProto: ProtoLoader,
  problems: Problem[],
): ProtoFile | undefined {
  return readProtoAt(target.name, source, loadProto, problems);
}

function readProtoAt(
  where: string,
  source: ProtoSource,
  loadProto: ProtoLoader,
  problems: Problem[],
): ProtoFile | undefined {
  try {
    return loadProto(source);
  } catch (error) {
    const isMissing = TenonError.is(error) && error.reason === 'codec.proto_not_found';
    problems.push({
      kind: isMissing ? 'unreadable-proto' : 'invalid-proto',
      where,
      message: textOf(error),
      fix: isMissing
        ? "give the file relative to the module: new URL('../proto/x.proto', import.meta.url)"
        : 'correct the .proto at that place',
    });
    return undefined;
  }
}

function findService(
  where: string,
  name: string,
  file: ProtoFile,
  source: ProtoSource,
  problems: Problem[],
): ProtoService | undefined {
  const service = file.service(name);
  if (service) return service;
  const names = file.services.map((one) => one.fullName);
  problems.push({
    kind: 'unknown-service',
    where,
    message: `${fileName(source)} has no service ${name}${names.length === 0 ? '' : `, only ${names.join(', ')}`}.${didYouMean(name, names)}`,
    fix: 'give the full name with its package, as the .proto has it',
  });
  return undefined;
}

function isAsyncGenerator(target: Class, property: string): boolean {
  const method = (target.prototype as Record<string, unknown>)[property];
  return typeof method === 'function' && Object.prototype.toString.call(method) === '[object AsyncGeneratorFunction]';
}

function kindText(kind: MethodKind): string {
  if (kind === 'unary') return 'a unary';
  return kind === 'bidi' ? 'a bidirectional stream' : `a ${kind} stream`;
}

/** The name of a method on the wire: `Hello` for `hello`, as protobuf's style guide capitalizes methods. */
function wireName(property: string): string {
  return property.charAt(0).toUpperCase() + property.slice(1);
}

function propertyName(method: string): string {
  return method.charAt(0).toLowerCase() + method.slice(1);
}

function fileName(source: ProtoSource): string {
  const path = String(source);
  return path.slice(path.lastIndexOf('/') + 1);
}
