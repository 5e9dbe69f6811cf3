import { didYouMean } from '../../internal/suggest.ts';

/** A value of a JSON document, with its path. */
export interface ConfigValue {
  readonly path: string;
  readonly value: unknown;
}

/** Reads a JSON document, and collects every mistake in it with its path. */
export class ConfigReader {
  readonly problems: string[] = [];

  wrong(path: string, problem: string): void {
    this.problems.push(`${path === '' ? 'it' : path} ${problem}`);
  }

  /** Reads the object at `path`, which may have these fields and no others; `undefined` for any other value. */
  object(path: string, value: unknown, fields: readonly string[]): ConfigFields | undefined {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.wrong(path, `is ${describe(value)}: give an object`);
      return undefined;
    }
    for (const name of Object.keys(value)) {
      if (!fields.includes(name)) {
        this.wrong(join(path, name), `is not a field of a service config.${didYouMean(name, fields)}`);
      }
    }
    return new ConfigFields(this, path, value as Readonly<Record<string, unknown>>, false);
  }
}

/** The fields of an object in the document. A field that is undefined or null counts as absent. */
export class ConfigFields {
  readonly #reader: ConfigReader;
  readonly #path: string;
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #isRequired: boolean;

  constructor(reader: ConfigReader, path: string, values: Readonly<Record<string, unknown>>, isRequired: boolean) {
    this.#reader = reader;
    this.#path = path;
    this.#values = values;
    this.#isRequired = isRequired;
  }

  /** The same fields, where it is a mistake if a field that is read is absent. */
  required(): ConfigFields {
    return new ConfigFields(this.#reader, this.#path, this.#values, true);
  }

  has(name: string): boolean {
    return this.#values[name] !== undefined && this.#values[name] !== null;
  }

  valueOf(name: string): ConfigValue {
    return { path: join(this.#path, name), value: this.#values[name] };
  }

  text(name: string): string | undefined {
    return this.#read(name, (value) => typeof value === 'string', 'a string') as string | undefined;
  }

  boolean(name: string): boolean | undefined {
    return this.#read(name, (value) => typeof value === 'boolean', 'true or false') as boolean | undefined;
  }

  /** Reads a number; also one in a string, as proto JSON writes 64-bit integers. */
  number(name: string, isGood: (value: number) => boolean, what: string): number | undefined {
    const given = this.#values[name];
    const value = typeof given === 'string' && /^-?\d+(\.\d+)?$/.test(given) ? Number(given) : given;
    return this.#read(name, () => typeof value === 'number' && isGood(value), what) === undefined
      ? undefined
      : (value as number);
  }

  /** Reads a duration of proto JSON (protobuf: duration.proto) in milliseconds. */
  durationMs(name: string, what: 'above 0' | 'at least 0'): number | undefined {
    const given = this.#values[name];
    const seconds =
      typeof given === 'string' && /^\d{1,12}(\.\d{1,9})?s$/.test(given) ? Number(given.slice(0, -1)) : -1;
    const isGood = what === 'above 0' ? seconds > 0 : seconds >= 0;
    return this.#read(name, () => isGood, `a duration in seconds ${what}, such as "1.5s"`) === undefined
      ? undefined
      : seconds * 1000;
  }

  list(name: string): readonly ConfigValue[] {
    const values = this.#read(name, Array.isArray, 'a list') as readonly unknown[] | undefined;
    return (values ?? []).map((value, index) => ({ path: `${join(this.#path, name)}[${index}]`, value }));
  }

  #read(name: string, isGood: (value: unknown) => boolean, what: string): unknown {
    const value = this.#values[name];
    const path = join(this.#path, name);
    if (value === undefined || value === null) {
      if (this.#isRequired) this.#reader.wrong(path, `is missing: give ${what}`);
      return undefined;
    }
    if (isGood(value)) return value;
    this.#reader.wrong(path, `is ${describe(value)}: give ${what}`);
    return undefined;
  }
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function describe(value: unknown): string {
  return value === undefined ? 'undefined' : JSON.stringify(value);
}
