import type { ContainerModule, ContainerModuleLoadOptions } from 'inversify';

/**
 * Wraps a module so that its function gets changed options. It keeps its id, so the container takes it for the same
 * module.
 */
export function withLoad(
  module: ContainerModule,
  change: (options: ContainerModuleLoadOptions) => ContainerModuleLoadOptions,
): ContainerModule {
  const twin: Pick<ContainerModule, 'id' | 'load'> = { id: module.id, load: (options) => module.load(change(options)) };
  return twin as ContainerModule;
}
