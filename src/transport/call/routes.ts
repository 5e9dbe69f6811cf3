import type { TenonError } from '../../errors/errors.ts';
import { didYouMean } from '../../internal/suggest.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { ListenOptions } from '../transport.ts';
import { unknownMethod } from './failures.ts';

/** Finds the methods of a listener by their paths. */
export class Routes {
  readonly #byPath: ReadonlyMap<string, MethodDescriptor>;
  readonly #options: Pick<ListenOptions, 'resolve' | 'suggest'>;

  constructor(options: Pick<ListenOptions, 'routes' | 'resolve' | 'suggest'>) {
    this.#byPath = new Map(
      options.routes.flatMap((route) => [route.path, ...route.aliases].map((path) => [path, route] as const)),
    );
    this.#options = options;
  }

  /** The paths that are known beforehand. */
  get paths(): Iterable<string> {
    return this.#byPath.keys();
  }

  /** Returns the method that answers at `path`. */
  find(path: string): MethodDescriptor | undefined {
    return this.#byPath.get(path) ?? this.#options.resolve?.(path);
  }

  /** The error for a path at which nothing answers. */
  unknown(path: string): TenonError {
    return unknownMethod(path, this.#options.suggest ? didYouMean(path, this.paths) : '');
  }
}
