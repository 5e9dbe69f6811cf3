import { healthHandler, healthName, healthProto } from '../../health/handler.ts';
import type { Health } from '../../health/health.ts';
import { ServiceHealth } from '../../health/service-health.ts';
import { Reflected } from '../../reflection/reflected.ts';
import {
  errorDetailsProto,
  reflectionHandler,
  reflectionName,
  reflectionProto,
  reflectionVersions,
} from '../../reflection/reflection.ts';
import type { ServerHandler } from '../../server/server.ts';
import type { ServiceRuntime } from '../../service/service.ts';
import type { HandlerDescription, ProtoLoader } from '../describe.ts';

/** The parts that health and reflection of one service are made from. */
export interface BuiltinParts {
  readonly service: ServiceRuntime;
  /** Descriptions of the application's own handlers. */
  readonly descriptions: readonly HandlerDescription[];
  readonly loadProto: ProtoLoader;
  readonly health: Health;
}

/**
 * Makes the handlers of health and reflection that the options of a service ask for, except those whose name a handler
 * of the application has. Their `.proto` files, and the code of reflection, are loaded with the first call.
 */
export function builtinHandlers(parts: BuiltinParts): readonly ServerHandler[] {
  const { health, reflection } = parts.service.options;
  const served = parts.descriptions.map(({ name }) => name).filter((name) => name !== '');
  const handlers = [
    ...(health ? [makeHealth(parts, served)] : []),
    ...(reflection ? makeReflection(parts, health === true) : []),
  ];
  return handlers.filter(({ name }) => !served.includes(name));
}

function makeHealth(parts: BuiltinParts, services: readonly string[]): ServerHandler {
  const { service, health, loadProto } = parts;
  const { healthFollowsRegistry: followsRegistry, healthFollowsBroker: followsBroker } = service.options;
  return healthHandler(new ServiceHealth(service, health, { services, followsRegistry, followsBroker }), (name) =>
    loadProto(healthProto).type(name),
  );
}

function makeReflection(parts: BuiltinParts, withHealth: boolean): readonly ServerHandler[] {
  const { descriptions, service, loadProto } = parts;
  const ours = descriptions.filter(({ name, methods }) => name !== '' && methods.length > 0);
  const builtin = [
    ...(withHealth ? [{ name: healthName, proto: healthProto }] : []),
    ...reflectionVersions.map((version) => ({ name: reflectionName(version), proto: reflectionProto(version) })),
  ].filter(({ name }) => !ours.some((one) => one.name === name));
  const files = [
    ...ours.map(({ name, proto }) => ({ name, files: () => proto?.fileDescriptors })),
    ...builtin.map(({ name, proto }) => ({ name, files: () => loadProto(proto).fileDescriptors })),
  ];
  const reflected = new Reflected(files, () => loadProto(errorDetailsProto).fileDescriptors);
  return reflectionVersions.map((version) =>
    reflectionHandler({
      version,
      reflected,
      service,
      findType: (name) => loadProto(reflectionProto(version)).type(name),
    }),
  );
}
