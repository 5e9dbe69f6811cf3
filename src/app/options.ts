import type { Container, ContainerModule } from 'inversify';

import type { Backends } from './backends.ts';
import type { Profile } from './profiles.ts';

/**
 * Options of an application. Its bindings come in four layers, each stronger than the one before: the environment (with
 * the built-in profile that it names), a profile function, `modules`, and `bind`. A stronger layer that binds one of
 * tenon's own keys replaces the binding of a weaker one, with `bind` as with `rebind`.
 */
export interface AppOptions {
  /**
   * The name of a built-in profile (`test`, `dev`, `local`, `prod`), which is stronger than `TENON_PROFILE`, or a
   * function that makes a module. What the function does not bind comes from the built-in profile of `TENON_PROFILE`.
   * @default `TENON_PROFILE`, else `dev`
   */
  readonly profile?: string | Profile | undefined;
  /**
   * The environment that `TENON_…` variables are read from.
   * @default `process.env`; with `profile: 'test'` an empty one, so that tests do not depend on the shell's exports
   */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /**
   * Backends of the application that variables can choose by name: `{ registry: { folder: FolderRegistry } }` for
   * `TENON_REGISTRY=folder`.
   */
  readonly backends?: Backends | undefined;
  /** Modules of bindings, loaded in this order. */
  readonly modules?: readonly ContainerModule[] | undefined;
  /** Binds on the container, as the strongest layer: `(container) => container.rebind(Registry).to(MyRegistry)`. */
  readonly bind?: ((container: Container) => void) | undefined;
  /** Cancels a start that is under way; what was started is stopped again. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The environment of an application: `env`, else `process.env`. The profile `test` named in code sees no variables, so
 * that unit tests do not depend on the shell that they run in.
 */
export function environmentOf({ env, profile }: AppOptions): Readonly<Record<string, string | undefined>> {
  return env ?? (profile === 'test' ? {} : process.env);
}
