import type { ContainerModule, ContainerModuleLoadOptions } from 'inversify';

/** The same module to the container, id and all, except that its function is given other options. */
export function withLoad(
  module: ContainerModule,
  change: (options: ContainerModuleLoadOptions) => ContainerModuleLoadOptions,
): ContainerModule {
  const twin: Pick<ContainerModule, 'id' | 'load'> = { id: module.id, load: (options) => module.load(change(options)) };
  return twin as ContainerModule;
}
