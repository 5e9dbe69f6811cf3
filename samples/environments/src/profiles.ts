import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ContainerModule } from 'inversify';
import { type Profile, Registry } from 'tenon';

import { FolderRegistry, RegistryFolder } from './folder-registry.ts';

/**
 * The staging environment: machines that share a disk, and no server for a registry. `TENON_REGISTRY_ADDRESS` says
 * where the folder is. What is not bound here (transport, selector, broker, …) is as in the built-in profile that the
 * environment names.
 */
export const staging: Profile = (config) =>
  new ContainerModule(({ bind }) => {
    bind(RegistryFolder).toConstantValue(config.registry.address ?? join(tmpdir(), 'staging-registry'));
    bind(Registry).to(FolderRegistry);
  });
