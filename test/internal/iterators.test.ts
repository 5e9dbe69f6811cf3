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
  it('iterates asynchronous iterables, others, and promises in them', async () => {
    const source = filled(1);
    expect(iteratorOf(source)).toBe(source);
    const iterator = iteratorOf([1, Promise.resolve(2)]);
    expect([await iterator.next(), await iterator.next(), await iterator.next()]).toEqual([
      yielded(1),
      yielded(2),
      over,
    ]);
  });

  it('rejects at next for what cannot be iterated', async () => {
    await expect(iteratorOf(5 as never).next()).rejects.toThrow(TypeError);
  });
});

describe('iterable', () => {
  it('makes an iteration each time that one is begun', async () => {
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
  it('hands out what the function makes of each value, or its promise', async () => {
    const source = filled(1, 2, 3);
    source.end();
    const mapped = mapIterator(source, (value) => (value === 2 ? Promise.resolve(20) : value * 10));
    expect(await valuesOf(mapped)).toEqual([10, 20, 30]);
    expect(source.returned).toBe(0);
  });

  it('returns its source when the function throws, and throws that even where the source does not like to be returned', async () => {
    const source = filled(1, 2);
    source.return = () => Promise.reject(new Error('it cannot be left'));
    const mapped = mapIterator(source, () => {
      throw error;
    });
    await expect(mapped.next()).rejects.toBe(error);
    expect(await mapped.next()).toEqual(over);
  });

  it('is over for a next() that was pending when it was returned, also while the function is at work', async () => {
    let finish: (value: number) => void = () => {};
    const mapped = mapIterator(filled(1), () => new Promise<number>((resolve) => (finish = resolve)));
    const pending = mapped.next();
    await turn();
    await mapped.return?.();
    finish(10);
    expect(await pending).toEqual(over);
  });

  it('returns a source that it was given, though nothing was read', async () => {
    const source = filled(1);
    await mapIterator(source, String).return?.();
    expect(source.returned).toBe(1);
  });
});

describe('deferredIterator', () => {
  it('opens with the first next(), once, however many are pending', async () => {
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

  it('is not opened once it was returned', async () => {
    const deferred = deferredIterator<number>(() => {
      throw new Error('opened');
    });
    expect(await deferred.return?.()).toEqual(over);
    expect(await deferred.next()).toEqual(over);
  });

  it('rejects one next() with what opening threw, and is over for the others', async () => {
    const deferred = deferredIterator<number>(() => Promise.reject(error));
    const results = await Promise.allSettled([deferred.next(), deferred.next()]);
    expect(results).toEqual([
      { status: 'rejected', reason: error },
      { status: 'fulfilled', value: over },
    ]);
    expect(await deferred.next()).toEqual(over);
  });

  it('does not hold up who leaves while it is being opened, and lets go of what is opened then', async () => {
    const source = filled(1);
    let open: (source: Source) => void = () => {};
    const deferred = deferredIterator(() => new Promise<Source>((resolve) => (open = resolve)));
    const pending = deferred.next();
    expect(await deferred.return?.()).toEqual(over);
    open(source);
    expect(await pending).toEqual(over);
    expect(source.returned).toBe(1);
  });

  it('is over, and no failure, for who left while it was being opened in vain', async () => {
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

  it('tells of the end once, after the last value', async () => {
    const source = filled(1);
    source.end();
    const { ends, iterator } = watched(source);
    expect(await valuesOf(iterator)).toEqual([1]);
    await iterator.next();
    await iterator.return?.();
    expect(ends).toEqual([{ outcome: 'ok' }]);
  });

  it('tells of the end once, when the source fails', async () => {
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

  it('tells of the end once, when the reader leaves, also before the first value', async () => {
    const { ends, iterator } = watched(filled(1));
    await Promise.all([iterator.return?.(), iterator.return?.()]);
    expect(ends).toEqual([{ outcome: 'cancelled' }]);
  });

  it('tells of the end after the source has let go, though that failed', async () => {
    const source = filled(1);
    source.return = () => Promise.reject(error);
    const { ends, iterator } = watched(source);
    await iterator.next();
    const left = iterator.return?.();
    expect(ends).toEqual([]);
    await expect(left).rejects.toBe(error);
    expect(ends).toEqual([{ outcome: 'cancelled' }]);
  });

  it('is over for all that are pending when the reader leaves', async () => {
    const source = new Source();
    const { ends, iterator } = watched(source);
    const pending = [iterator.next(), iterator.next()];
    await iterator.return?.();
    expect(await Promise.all(pending)).toEqual([over, over]);
    expect(ends).toEqual([{ outcome: 'cancelled' }]);
  });

  it('hands out no value that comes after the reader has left', async () => {
    const source = new Stubborn();
    const { iterator } = watched(source);
    const pending = iterator.next();
    await iterator.return?.();
    source.push(1);
    expect(await pending).toEqual(over);
  });

  it('ends when its signal aborts, as if the reader left', async () => {
    const { signal, abort } = aborting();
    const source = new Source();
    const { ends, iterator } = watched(source, signal);
    const pending = iterator.next();
    abort();
    expect(await pending).toEqual(over);
    expect(source.returned).toBe(1);
    expect(ends).toEqual([{ outcome: 'cancelled' }]);
  });

  it('is over from the start with a signal that has aborted', async () => {
    const source = filled(1);
    const { ends, iterator } = watched(source, AbortSignal.abort());
    expect(await iterator.next()).toEqual(over);
    expect(source.returned).toBe(1);
    expect(ends).toEqual([{ outcome: 'cancelled' }]);
  });

  it('hears nothing of an abort after its end', async () => {
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

  it('rejects with what is thrown by who is told, and tells it nothing again', async () => {
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

  it('goes on with what recovers from the first error, of the source or of opening it', async () => {
    for (const [first, values] of [
      [failing, [1, 7, 8]],
      [broken, [7, 8]],
    ] as const) {
      const recovering = new Recovering(first, whole);
      expect(await valuesOf(recovering)).toEqual(values);
      expect(recovering.ends).toEqual([{ outcome: 'ok' }]);
    }
  });

  it('fails with the second error, or with that of recovering', async () => {
    for (const second of [failing, broken]) {
      const recovering = new Recovering(failing, second);
      await expect(valuesOf(recovering)).rejects.toBe(error);
      expect(recovering.ends).toEqual([{ outcome: 'failed', error }]);
      expect(await recovering.next()).toEqual(over);
    }
  });

  it('lets go of what recovers after its reader has left', async () => {
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

  it('reads one at a time, and hands out in the order in which it was asked', async () => {
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

  it('goes on with the next in line after a read that failed', async () => {
    const source = new Source();
    const reader = new Reader(source);
    const pending = Promise.allSettled([reader.next(), reader.next()]);
    source.fail(error);
    expect((await pending).map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  });
});
