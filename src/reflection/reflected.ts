/** A service that is told of. */
export interface ReflectedService {
  /** Full name. */
  readonly name: string;
  /**
   * The files that define it, each behind those it imports, as serialized `google.protobuf.FileDescriptorProto`;
   * `undefined` where there is no `.proto`. Asked with the first question.
   */
  readonly files: () => readonly Uint8Array[] | undefined;
}

/** What a server tells of itself, shared by the versions of the protocol. */
export class Reflected {
  readonly #services: readonly ReflectedService[];
  readonly #others: () => readonly Uint8Array[];
  #names: readonly string[] | undefined;

  /**
   * `others` are files that define no service: the types of what travels in an `Any`, such as the details of errors.
   */
  constructor(services: readonly ReflectedService[], others: () => readonly Uint8Array[] = () => []) {
    this.#services = services;
    this.#others = others;
  }

  /** @internal The files of each service, then the others. */
  get files(): readonly (readonly Uint8Array[])[] {
    return [...this.#services.map(({ files }) => files() ?? []), this.#others()];
  }

  /** The services that have a definition, in order. */
  get names(): readonly string[] {
    return (this.#names ??= this.#services
      .filter(({ files }) => files() !== undefined)
      .map(({ name }) => name)
      .sort());
  }

  /** Whether it is answered, but has no `.proto`. */
  isUndefined(symbol: string): boolean {
    return this.#services.some(
      ({ name, files }) => (symbol === name || symbol.startsWith(`${name}.`)) && files() === undefined,
    );
  }
}
