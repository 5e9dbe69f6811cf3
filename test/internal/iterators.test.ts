import { setImmediate as turn } from 'node:timers/promises';

import { describe, expect, it } from '@jest/globals';

import { AsyncQueue } from '../../src/internal/async-queue.ts';
import {
  deferredIterator,
  DerivedIterator,
  finalizedIterator,
  type IterationEnd,
  iterable,
  iteratorOf,
  mapIterator,
  over,
  SerialIterator,
} from '../../src/internal/iterators.ts';

/** A source that is fed, and knows whether it was let go of. */
class Source extends AsyncQueue<number> {
  returned = 0;

  override return(): Promise<IteratorResult<number, undefined>> {
    this.returned += 1;
    return super.return();
  }
}

/** A source that settles nothing when it is returned, as a generator that waits. */
class Stubborn extends Source {
  override return(): Promise<IteratorResult<number, undefined>> {
    this.returned += 1;
    return Promise.resolve(over);
  }
}

function filled(...values: number[]): Source {
  const source = new Source();
  for (const value of values) source.push(value);
  return source;
}

const yielded = (value: unknown): IteratorResult<unknown, undefined> => ({ done: false, value });
const error = new Error('it broke');

async function valuesOf<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

describe('iteratorOf', () => {
  it('iterates async iterables, sync iterables, and promises in them', async () => {
    const source = filled(1);
    expect(iteratorOf(source)).toBe(source);
    const iterator = iteratorOf([1, Promise.resolve(2)]);
    expect([await iterator.next(), await iterator.next(), await iterator.next()]).toEqual([
      yielded(1),
      yielded(2),
      over,
    ]);
  });

  it('rejects at next() for a value that is not iterable', async () => {
    await expect(iteratorOf(5 as never).next()).rejects.toThrow(TypeError);
  });
});

describe('iterable', () => {
  it('makes a new iterator for each iteration', async () => {
    let begun = 0;
    const values = iterable(() => {
      begun += 1;
      return iteratorOf([begun]);
    });
    expect(begun).toBe(0);
    expect([await valuesOf(values), await valuesOf(values)]).toEqual([[1], [2]]);
  });
});

describe('mapIterator', () => {
  it('yields what the function returns for each value, or what its promise resolves to', async () => {
    const source = filled(1, 2, 3);
    source.end();
    const mapped = mapIterator(source, (value) => (value === 2 ? Promise.resolve(20) : value * 10));
    expect(await valuesOf(mapped)).toEqual([10, 20, 30]);
    expect(source.returned).toBe(0);
  });

  it('returns its source when the function throws, and throws that error even if return() of the source fails', async () => {
    const source = filled(1, 2);
    source.return = () => Promise.reject(new Error('it cannot be left'));
    const mapped = mapIterator(source, () => {
      throw error;
    });
    await expect(mapped.next()).rejects.toBe(error);
    expect(await mapped.next()).toEqual(over);
  });

  it('ends a next() that is pending at return(), even while the function works', async () => {
    let finish: (value: number) => void = () => {};
    const mapped = mapIterator(filled(1), () => new Promise<number>((resolve) => (finish = resolve)));
    const pending = mapped.next();
    await turn();
    await mapped.return?.();
    finish(10);
    expect(await pending).toEqual(over);
  });

  it('returns its source on return() before the first next()', async () => {
    const source = filled(1);
    await mapIterator(source, String).return?.();
    expect(source.returned).toBe(1);
  });
});

describe('deferredIterator', () => {
  it('opens its source once with the first next(), even if several are pending', async () => {
    let opened = 0;
    const source = new Source();
    const deferred = deferredIterator(async () => {
      opened += 1;
      await turn();
      return source;
    });
    expect(opened).toBe(0);
    const pending = [deferred.next(), deferred.next(), deferred.next()];
    source.push(1);
    source.push(2);
    source.end();
    expect(await Promise.all(pending)).toEqual([yielded(1), yielded(2), over]);
    expect(opened).toBe(1);
  });

  it('does not open its source after return()', async () => {
    const deferred = deferredIterator<number>(() => {
      throw new Error('opened');
    });
    expect(await deferred.return?.()).toEqual(over);
    expect(await deferred.next()).toEqual(over);
  });

  it('rejects one next() with the error of opening, and ends for the others', async () => {
    const deferred = deferredIterator<number>(() => Promise.reject(error));
    const results = await Promise.allSettled([deferred.next(), deferred.next()]);
    expect(results).toEqual([
      { status: 'rejected', reason: error },
      { status: 'fulfilled', value: over },
    ]);
    expect(await deferred.next()).toEqual(over);
  });

  it('does not delay a return() while its source opens, and returns the source once it is open', async () => {
    const source = filled(1);
    let open: (source: Source) => void = () => {};
    const deferred = deferredIterator(() => new Promise<Source>((resolve) => (open = resolve)));
    const pending = deferred.next();
    expect(await deferred.return?.()).toEqual(over);
    open(source);
    expect(await pending).toEqual(over);
    expect(source.returned).toBe(1);
  });

  it('ends without an error if opening fails after return()', async () => {
    let fail: (error: Error) => void = () => {};
    const deferred = deferredIterator(() => new Promise<Source>((_, reject) => (fail = reject)));
    const pending = deferred.next();
    await deferred.return?.();
    fail(error);
    expect(await pending).toEqual(over);
  });
});

describe('finalizedIterator', () => {
  const watched = (
    source: AsyncIterator<number>,
    signal?: AbortSignal,
  ): { readonly ends: IterationEnd[]; readonly iterator: AsyncIterableIterator<number, undefined> } => {
    const ends: IterationEnd[] = [];
    return { ends, iterator: finalizedIterator(source, (end) => void ends.push(end), signal) };
  };

  it('calls the finalizer once, after the last value', async () => {
    const source = filled(1);
    source.end();
    const { ends, iterator } = watched(source);
    expect(await valuesOf(iterator)).toEqual([1]);
    await iterator.next();
    await iterator.return?.();
    expect(ends).toEqual([{ outcome: 'ok' }]);
  });

  it('calls the finalizer once when the source fails', async () => {
    const source = new Source();
    const { ends, iterator } = watched(source);
    const pending = [iterator.next(), iterator.next()];
    source.fail(error);
    expect(await Promise.allSettled(pending)).toEqual([
      { status: 'rejected', reason: error },
      { status: 'fulfilled', value: over },
    ]);
    await iterator.return?.();
    expect(ends).toEqual([{ outcome: 'failed', error }]);
  });

  it('calls the finalizer once on return(), even before the first value', async () => {
    const { ends, iterator } = watched(filled(1));
    await Promise.all([iterator.return?.(), iterator.return?.()]);
    expect(ends).toEqual([{ outcome: 'cancelled' }]);
  });

  it('calls the finalizer after return() of the source, even if that failed', async () => {
    const source = filled(1);
    source.return = () => Promise.reject(error);
    const { ends, iterator } = watched(source);
    await iterator.next();
    const left = iterator.return?.();
    expect(ends).toEqual([]);
    await expect(left).rejects.toBe(error);
    expect(ends).toEqual([{ outcome: 'cancelled' }]);
  });

  it('ends all pending next() on return()', async () => {
    const source = new Source();
    const { ends, iterator } = watched(source);
    const pending = [iterator.next(), iterator.next()];
    await iterator.return?.();
    expect(await Promise.all(pending)).toEqual([over, over]);
    expect(ends).toEqual([{ outcome: 'cancelled' }]);
  });

  it('yields no value that arrives after return()', async () => {
    const source = new Stubborn();
    const { iterator } = watched(source);
    const pending = iterator.next();
    await iterator.return?.();
    source.push(1);
    expect(await pending).toEqual(over);
  });

  it('ends when its signal aborts, as on return()', async () => {
    const { signal, abort } = aborting();
    const source = new Source();
    const { ends, iterator } = watched(source, signal);
    const pending = iterator.next();
    abort();
    expect(await pending).toEqual(over);
    expect(source.returned).toBe(1);
    expect(ends).toEqual([{ outcome: 'cancelled' }]);
  });

  it('ends at once with a signal that has aborted', async () => {
    const source = filled(1);
    const { ends, iterator } = watched(source, AbortSignal.abort());
    expect(await iterator.next()).toEqual(over);
    expect(source.returned).toBe(1);
    expect(ends).toEqual([{ outcome: 'cancelled' }]);
  });

  it('ignores an abort after its end', async () => {
    const { signal, abort } = aborting();
    const source = filled();
    source.end();
    const { ends, iterator } = watched(source, signal);
    await iterator.next();
    abort();
    await turn();
    expect(source.returned).toBe(0);
    expect(ends).toEqual([{ outcome: 'ok' }]);
  });

  it('rejects with what the finalizer throws, and does not call it again', async () => {
    const source = filled();
    source.end();
    let told = 0;
    const iterator = finalizedIterator(source, () => {
      told += 1;
      throw error;
    });
    await expect(iterator.next()).rejects.toBe(error);
    expect(await iterator.next()).toEqual(over);
    expect(told).toBe(1);
    const left = finalizedIterator(filled(1), () => {
      throw error;
    });
    await expect(left.return?.()).rejects.toBe(error);
  });

  function aborting(): { readonly signal: AbortSignal; abort(): void } {
    const controller = new AbortController();
    return { signal: controller.signal, abort: () => controller.abort() };
  }
});

describe('DerivedIterator', () => {
  class Recovering extends DerivedIterator<number> {
    readonly ends: IterationEnd[] = [];
    readonly #next: readonly (() => Promise<AsyncIterator<number>>)[];
    #at = 0;

    constructor(...next: readonly (() => Promise<AsyncIterator<number>>)[]) {
      super();
      this.#next = next;
    }

    protected override open(): Promise<AsyncIterator<number>> {
      return this.recover();
    }

    protected override recover(): Promise<AsyncIterator<number>> {
      this.#at += 1;
      return (this.#next[this.#at - 1] as () => Promise<AsyncIterator<number>>)();
    }

    protected override onEnd(end: IterationEnd): void {
      this.ends.push(end);
    }
  }

  const failing = (): Promise<AsyncIterator<number>> => {
    const source = filled(1);
    source.fail(error);
    return Promise.resolve(source);
  };
  const whole = (): Promise<AsyncIterator<number>> => {
    const source = filled(7, 8);
    source.end();
    return Promise.resolve(source);
  };
  const broken = (): Promise<AsyncIterator<number>> => Promise.reject(error);

  it('goes on with the recovered source after the first error, of the source or of opening it', async () => {
    for (const [first, values] of [
      [failing, [1, 7, 8]],
      [broken, [7, 8]],
    ] as const) {
      const recovering = new Recovering(first, whole);
      expect(await valuesOf(recovering)).toEqual(values);
      expect(recovering.ends).toEqual([{ outcome: 'ok' }]);
    }
  });

  it('fails with the second error, or with that of the recovery', async () => {
    for (const second of [failing, broken]) {
      const recovering = new Recovering(failing, second);
      await expect(valuesOf(recovering)).rejects.toBe(error);
      expect(recovering.ends).toEqual([{ outcome: 'failed', error }]);
      expect(await recovering.next()).toEqual(over);
    }
  });

  it('returns the recovered source after return()', async () => {
    const late = filled(7);
    let recover: (source: Source) => void = () => {};
    const recovering = new Recovering(broken, () => new Promise((resolve) => (recover = resolve)));
    const pending = recovering.next();
    await turn();
    await recovering.return();
    recover(late);
    expect(await pending).toEqual(over);
    expect(late.returned).toBe(1);
    expect(recovering.ends).toEqual([{ outcome: 'cancelled' }]);
  });
});

describe('SerialIterator', () => {
  class Reader extends SerialIterator<number> {
    reading = 0;
    most = 0;
    readonly #source: AsyncIterator<number, undefined>;

    constructor(source: AsyncIterator<number, undefined>) {
      super();
      this.#source = source;
    }

    override return(): Promise<IteratorResult<number, undefined>> {
      return Promise.resolve(over);
    }

    protected override async read(): Promise<IteratorResult<number, undefined>> {
      this.reading += 1;
      this.most = Math.max(this.most, this.reading);
      try {
        return await this.#source.next();
      } finally {
        this.reading -= 1;
      }
    }
  }

  it('reads one value at a time, and delivers in the order of the calls of next()', async () => {
    const source = new Source();
    const reader = new Reader(source);
    const pending = [reader.next(), reader.next(), reader.next()];
    for (const value of [1, 2]) {
      await turn();
      source.push(value);
    }
    source.end();
    expect(await Promise.all(pending)).toEqual([yielded(1), yielded(2), over]);
    expect(reader.most).toBe(1);
  });

  it('goes on with the next call of next() after a read that failed', async () => {
    const source = new Source();
    const reader = new Reader(source);
    const pending = Promise.allSettled([reader.next(), reader.next()]);
    source.fail(error);
    expect((await pending).map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  });
});
