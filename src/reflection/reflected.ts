/** A service that reflection describes. */
export interface ReflectedService {
  /** Full name. */
  readonly name: string;
  /**
   * Returns the files that define the service as serialized `google.protobuf.FileDescriptorProto`, each behind those it
   * imports; `undefined` if there is no `.proto`. It is called with the first question.
   */
  readonly files: () => readonly Uint8Array[] | undefined;
}

/** Holds the services and files that a server describes, shared by the versions of the protocol. */
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

  /** @internal Returns the files of each service, then the others. */
  get files(): readonly (readonly Uint8Array[])[] {
    return [...this.#services.map(({ files }) => files() ?? []), this.#others()];
  }

  /** The names of the services that have a `.proto`, in order. */
  get names(): readonly string[] {
    return (this.#names ??= this.#services
      .filter(({ files }) => files() !== undefined)
      .map(({ name }) => name)
      .sort());
  }

  /** Returns true for a service that the server answers without a `.proto`, and for names below it. */
  isUndefined(symbol: string): boolean {
    return this.#services.some(
      ({ name, files }) => (symbol === name || symbol.startsWith(`${name}.`)) && files() === undefined,
    );
  }
}
