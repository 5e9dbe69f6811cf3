import type { Container, ContainerModule } from 'inversify';

import type { Backends } from './backends.ts';
import type { Profile } from './profiles.ts';

/**
 * How an application is put together. Four layers, each stronger than the one before: the environment (with the
 * built-in profile it names), a profile function, `modules`, `bind`. What a stronger layer binds of tenon's own keys
 * replaces what a weaker one bound, whether it says `bind` or `rebind`.
 */
export interface AppOptions {
  /**
   * A built-in profile by its name (`test`, `dev`, `local`, `prod`), which then is stronger than `TENON_PROFILE`, or a
   * function that gives a module. Under a function the built-in profile that the environment names still fills in what
   * the function does not bind.
   * @default `TENON_PROFILE`, else `dev`
   */
  readonly profile?: string | Profile | undefined;
  /**
   * Where `TENON_…` variables are read from.
   * @default `process.env`; none with `profile: 'test'`, so that tests do not depend on what the shell exports
   */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /**
   * Implementations of one's own that variables can choose by name: `{ registry: { folder: FolderRegistry } }` for
   * `TENON_REGISTRY=folder`.
   */
  readonly backends?: Backends | undefined;
  /** Loaded in this order. */
  readonly modules?: readonly ContainerModule[] | undefined;
  /** The last word: `(container) => container.rebind(Registry).to(MyRegistry)`. */
  readonly bind?: ((container: Container) => void) | undefined;
  /** Gives up a start that is under way; what was started is stopped again. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The variables that an application sees. Code that names `test` has unit tests in mind, and not the shell that they
 * happen to run in.
 */
export function environmentOf({ env, profile }: AppOptions): Readonly<Record<string, string | undefined>> {
  return env ?? (profile === 'test' ? {} : process.env);
}
