import { type DescriptorFile, readFile, renamed } from './descriptor-file.ts';

/** Finds files by their names, by the symbols that they declare and by the extensions. */
export class DescriptorIndex {
  readonly #files = new Map<string, DescriptorFile>();
  readonly #bySymbol = new Map<string, DescriptorFile>();
  readonly #byExtension = new Map<string, Map<number, DescriptorFile>>();
  readonly #messages = new Set<string>();

  /**
   * Indexes sets of serialized `google.protobuf.FileDescriptorProto`. In each set a file comes behind those it imports.
   */
  constructor(sets: Iterable<readonly Uint8Array[]>) {
    for (const set of sets) this.#addSet(set);
  }

  byName(name: string): DescriptorFile | undefined {
    return this.#files.get(name);
  }

  bySymbol(symbol: string): DescriptorFile | undefined {
    return this.#bySymbol.get(symbol);
  }

  byExtension(type: string, number: number): DescriptorFile | undefined {
    return this.#byExtension.get(type)?.get(number);
  }

  /** Returns the numbers of a message's extensions, in order; `undefined` for an unknown message. */
  extensionsOf(type: string): readonly number[] | undefined {
    const numbers = [...(this.#byExtension.get(type)?.keys() ?? [])];
    return numbers.length > 0 || this.#messages.has(type) ? numbers.sort((a, b) => a - b) : undefined;
  }

  /**
   * Returns a file with all that it imports, directly or not. Files in `sent` are left out, except the file itself; the
   * others are added to `sent`.
   */
  withImports(file: DescriptorFile, sent: Set<string>): readonly Uint8Array[] {
    const wanted = [file];
    const given = new Set([file.name]);
    for (const { dependencies } of wanted) {
      for (const name of dependencies) {
        const dependency = this.#files.get(name);
        if (!dependency || given.has(name) || sent.has(name)) continue;
        given.add(name);
        wanted.push(dependency);
      }
    }
    for (const name of given) sent.add(name);
    return wanted.map(({ bytes }) => bytes);
  }

  /**
   * Adds a set. Files of different folders may have the same name, as each is named relative to where it is loaded
   * from. Names must be unique here, so the second file gets another name, also in the files that import it.
   */
  #addSet(set: readonly Uint8Array[]): void {
    const names = new Map<string, string>();
    for (const bytes of set) {
      const read = readFile(bytes);
      const file = read.dependencies.some((name) => names.has(name)) ? renamed(read, names) : read;
      const name = this.#freeName(file);
      if (name !== file.name) names.set(file.name, name);
      this.#add(name === file.name ? file : renamed(file, new Map([[file.name, name]])));
    }
  }

  #freeName(file: DescriptorFile): string {
    for (let number = 1; ; number += 1) {
      const name = number === 1 ? file.name : `${number}/${file.name}`;
      const other = this.#files.get(name);
      const same = number === 1 ? file : renamed(file, new Map([[file.name, name]]));
      if (!other || Buffer.compare(other.bytes, same.bytes) === 0) return name;
    }
  }

  #add(file: DescriptorFile): void {
    if (this.#files.has(file.name)) return;
    this.#files.set(file.name, file);
    for (const symbol of file.symbols) if (!this.#bySymbol.has(symbol)) this.#bySymbol.set(symbol, file);
    for (const message of file.messages) this.#messages.add(message);
    for (const { type, number } of file.extensions) {
      const numbers = this.#byExtension.get(type) ?? new Map<number, DescriptorFile>();
      this.#byExtension.set(type, numbers);
      if (!numbers.has(number)) numbers.set(number, file);
    }
  }
}
