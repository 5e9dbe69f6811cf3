import { didYouMean } from '../../internal/suggest.ts';

/** A value of a JSON document, and where it stands. */
export interface Found {
  readonly path: string;
  readonly value: unknown;
}

/** Reads a JSON document that people wrote, and lists everything that is wrong with it. */
export class Reading {
  readonly problems: string[] = [];

  wrong(path: string, problem: string): void {
    this.problems.push(`${path === '' ? 'it' : path} ${problem}`);
  }

  /** The object at `path`, which has no other fields than these; `undefined` if it is none. */
  object(path: string, value: unknown, fields: readonly string[]): Fields | undefined {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.wrong(path, `is ${describe(value)}: give an object`);
      return undefined;
    }
    for (const name of Object.keys(value)) {
      if (!fields.includes(name)) {
        this.wrong(join(path, name), `is no field of a service config.${didYouMean(name, fields)}`);
      }
    }
    return new Fields(this, path, value as Readonly<Record<string, unknown>>, false);
  }
}

/** The fields of an object. One that is absent, undefined or null says nothing. */
export class Fields {
  readonly #reading: Reading;
  readonly #path: string;
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #isRequired: boolean;

  constructor(reading: Reading, path: string, values: Readonly<Record<string, unknown>>, isRequired: boolean) {
    this.#reading = reading;
    this.#path = path;
    this.#values = values;
    this.#isRequired = isRequired;
  }

  /** The same, where a field that is asked for and absent is wrong. */
  required(): Fields {
    return new Fields(this.#reading, this.#path, this.#values, true);
  }

  has(name: string): boolean {
    return this.#values[name] !== undefined && this.#values[name] !== null;
  }

  found(name: string): Found {
    return { path: join(this.#path, name), value: this.#values[name] };
  }

  text(name: string): string | undefined {
    return this.#read(name, (value) => typeof value === 'string', 'a text') as string | undefined;
  }

  boolean(name: string): boolean | undefined {
    return this.#read(name, (value) => typeof value === 'boolean', 'true or false') as boolean | undefined;
  }

  /** A number; also as text, as proto JSON writes 64 bit integers. */
  number(name: string, isGood: (value: number) => boolean, what: string): number | undefined {
    const given = this.#values[name];
    const value = typeof given === 'string' && /^-?\d+(\.\d+)?$/.test(given) ? Number(given) : given;
    return this.#read(name, () => typeof value === 'number' && isGood(value), what) === undefined
      ? undefined
      : (value as number);
  }

  /** A duration of proto JSON (protobuf: duration.proto), in milliseconds. */
  durationMs(name: string, what: 'above 0' | 'at least 0'): number | undefined {
    const given = this.#values[name];
    const seconds =
      typeof given === 'string' && /^\d{1,12}(\.\d{1,9})?s$/.test(given) ? Number(given.slice(0, -1)) : -1;
    const isGood = what === 'above 0' ? seconds > 0 : seconds >= 0;
    return this.#read(name, () => isGood, `a duration in seconds ${what}, such as "1.5s"`) === undefined
      ? undefined
      : seconds * 1000;
  }

  list(name: string): readonly Found[] {
    const values = this.#read(name, Array.isArray, 'a list') as readonly unknown[] | undefined;
    return (values ?? []).map((value, index) => ({ path: `${join(this.#path, name)}[${index}]`, value }));
  }

  #read(name: string, isGood: (value: unknown) => boolean, what: string): unknown {
    const value = this.#values[name];
    const path = join(this.#path, name);
    if (value === undefined || value === null) {
      if (this.#isRequired) this.#reading.wrong(path, `is missing: give ${what}`);
      return undefined;
    }
    if (isGood(value)) return value;
    this.#reading.wrong(path, `is ${describe(value)}: give ${what}`);
    return undefined;
  }
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function describe(value: unknown): string {
  return value === undefined ? 'undefined' : JSON.stringify(value);
}
