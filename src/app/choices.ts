import type { ServiceIdentifier } from 'inversify';

import type { Class } from '../decorators/decorators.ts';
import type { Config } from './config.ts';
import type { OptionParts } from './internal/option-parts.ts';

/** A profile, binding or option that is in force in an application, with its origin. */
export interface Choice {
  readonly kind: 'profile' | 'binding' | 'option';
  /** The name of the key or option: `Registry`, `ClientOptions.timeoutMs`, `Greeter.version`. */
  readonly name: string;
  /** The bound class or the option's value, as text for people. Texts that may be secret are `***`. */
  readonly value: string;
  /**
   * The place that chose the value: a variable's name, `profile prod`, `the profile function`, `modules[0]`, `bind`,
   * `@Service`, `decorators` or `default`.
   */
  readonly origin: string;
}

/** The parts of a composition that its choices are read from. */
export interface ChoiceSources {
  readonly services: readonly Class[];
  readonly config: Config;
  readonly options: OptionParts;
  /** The names of the layers that bound each key, one for each binding, in order. */
  readonly boundBy: ReadonlyMap<ServiceIdentifier, readonly string[]>;
  readonly profileOrigin: string;
  readonly undecorated: ReadonlyMap<ServiceIdentifier, abstract new (...args: never[]) => unknown>;
}
