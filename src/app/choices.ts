import type { ServiceIdentifier } from 'inversify';

import type { Class } from '../decorators/decorators.ts';
import type { Config } from './config.ts';
import type { OptionParts } from './internal/option-parts.ts';

/** Something that is in force in an application, and who chose it. */
export interface Choice {
  readonly kind: 'profile' | 'binding' | 'option';
  /** `Registry`, `ClientOptions.timeoutMs`, `Greeter.version`. */
  readonly name: string;
  /** For people: the class that is bound, the value of the option. Texts that may be secret are `***`. */
  readonly value: string;
  /**
   * A variable's name, `profile prod`, `the profile function`, `modules[0]`, `bind`, `@Service`, `decorators`,
   * `default`.
   */
  readonly origin: string;
}

/** The parts of a composition that choices are read from. */
export interface ChoiceSources {
  readonly services: readonly Class[];
  readonly config: Config;
  readonly options: OptionParts;
  /** The layers that bound each key, a name for each time, the last one last. */
  readonly boundBy: ReadonlyMap<ServiceIdentifier, readonly string[]>;
  readonly profileOrigin: string;
  readonly undecorated: ReadonlyMap<ServiceIdentifier, abstract new (...args: never[]) => unknown>;
}
