import type { Health } from '../../health/health.ts';
import type { ServerHandler } from '../../server/server.ts';
import type { ServiceRuntime } from '../../service/service.ts';
import type { HandlerDescription, ProtoLoader } from '../describe.ts';

/** What the standard services of one service are made of. */
export interface StandardParts {
  readonly service: ServiceRuntime;
  /** The handlers of the application. */
  readonly descriptions: readonly HandlerDescription[];
  readonly loadProto: ProtoLoader;
  readonly health: Health;
}

/**
 * The standard services that the options of a service ask for. One that a handler of the application has the name of is left to that handler. Each is loaded only
 * if it is asked for, and its `.proto` is read with its first call.
 */
export async function standardHandlers(parts: StandardParts): Promise<readonly ServerHandler[]> {
  const { health, reflection } = parts.service.options;
  const served = parts.descriptions.map(({ name }) => name).filter((name) => name !== '');
  const handlers = [
    ...(health ? [await makeHealth(parts, served)] : []),
    ...(reflection ? await makeReflection(parts, health === true) : []),
  ];
  return handlers.filter(({ name }) => !served.includes(name));
}

async function makeHealth(parts: StandardParts, services: readonly string[]): Promise<ServerHandler> {
  const [{ ServiceHealth }, { healthHandler, healthProto }] = await Promise.all([
    import('../../health/service-health.ts'),
    import('../../health/handler.ts'),
  ]);
  const { service, health, loadProto } = parts;
  const { healthFollowsRegistry: followsRegistry, healthFollowsBroker: followsBroker } = service.options;
  return healthHandler(new ServiceHealth(service, health, { services, followsRegistry, followsBroker }), (name) =>
    loadProto(healthProto).type(name),
  );
}

async function makeReflection(parts: StandardParts, withHealth: boolean): Promise<readonly ServerHandler[]> {
  const { errorDetailsProto, Reflected, reflectionHandler, reflectionName, reflectionProto, reflectionVersions } =
    await import('../../reflection/reflection.ts');
  const { descriptions, service, loadProto } = parts;
  const ours = descriptions.filter(({ name, methods }) => name !== '' && methods.length > 0);
  const standard = [
    ...(withHealth ? [await healthSource()] : []),
    ...reflectionVersions.map((version) => ({ name: reflectionName(version), proto: reflectionProto(version) })),
  ].filter(({ name }) => !ours.some((one) => one.name === name));
  const files = [
    ...ours.map(({ name, proto }) => ({ name, files: () => proto?.fileDescriptors })),
    ...standard.map(({ name, proto }) => ({ name, files: () => loadProto(proto).fileDescriptors })),
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

async function healthSource(): Promise<{ readonly name: string; readonly proto: URL }> {
  const { healthName, healthProto } = await import('../../health/handler.ts');
  return { name: healthName, proto: healthProto };
}
