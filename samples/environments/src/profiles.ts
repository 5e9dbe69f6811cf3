import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ContainerModule } from 'inversify';
import { type Profile, Registry } from 'tenon';

import { FolderRegistry, RegistryFolder } from './folder-registry.ts';

/**
 * The staging environment: machines that share a disk, and no server for a registry. What is not bound here (transport, selector, broker, …) is
 * as in the built-in profile that the environment names.
 */
export const staging: Profile = (env) =>
  new ContainerModule(({ bind }) => {
    bind(RegistryFolder).toConstantValue(env['STAGING_REGISTRY_FOLDER'] ?? join(tmpdir(), 'staging-registry'));
    bind(Registry).to(FolderRegistry);
  });
