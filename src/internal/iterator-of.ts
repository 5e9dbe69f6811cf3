/** The iteration that `for await` would make of `values`, for those who must end it from outside. One that cannot be iterated rejects at `next`. */
export function iteratorOf<T>(values: AsyncIterable<T> | Iterable<T | Promise<T>>): AsyncIterator<T> {
  const isAsync = typeof (values as Partial<AsyncIterable<T>> | undefined)?.[Symbol.asyncIterator] === 'function';
  return (isAsync ? (values as AsyncIterable<T>) : each(values))[Symbol.asyncIterator]();
}

async function* each<T>(values: AsyncIterable<T> | Iterable<T | Promise<T>>): AsyncGenerator<T> {
  yield* values;
}
