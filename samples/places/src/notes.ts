import { Readable } from 'node:stream';

import { Code, TenonError } from 'tenon';

import type { Note } from './api.ts';

const notesKeptPerPlace = 100;
const notesWaitingPerReader = 1_000;

/** The notes of every place, and who is reading along. */
export class NoteBoard {
  readonly #notes = new Map<string, Note[]>();
  readonly #readers = new Map<string, Set<Reader>>();

  /** Someone who writes and reads notes; `leave` when they are gone. */
  join(): Reader {
    return new Reader(
      (reader, placeId) => this.#follow(reader, placeId),
      (reader) => this.#leave(reader),
    );
  }

  /** Pins a note. Everyone who follows its place gets it. */
  pin(note: Note): void {
    const notes = this.#notes.get(note.placeId) ?? [];
    this.#notes.set(note.placeId, [...notes, note].slice(-notesKeptPerPlace));
    for (const reader of this.#readers.get(note.placeId) ?? []) reader.deliver(note);
  }

  #follow(reader: Reader, placeId: string): void {
    const readers = this.#readers.get(placeId) ?? new Set();
    this.#readers.set(placeId, readers);
    if (readers.has(reader)) return;
    for (const note of this.#notes.get(placeId) ?? []) reader.deliver(note);
    readers.add(reader);
  }

  #leave(reader: Reader): void {
    for (const [placeId, readers] of this.#readers) {
      readers.delete(reader);
      if (readers.size === 0) this.#readers.delete(placeId);
    }
  }
}

/** The notes that one caller gets, in order. */
export class Reader implements AsyncIterable<Note> {
  readonly #inbox = new Readable({ objectMode: true, read() {} });

  constructor(
    private readonly onFollow: (reader: Reader, placeId: string) => void,
    private readonly onLeave: (reader: Reader) => void,
  ) {}

  /** From now on this reader gets the notes of the place, the earlier ones first. */
  follow(placeId: string): void {
    this.onFollow(this, placeId);
  }

  /** A reader that lags too far behind is let go, so that one slow caller does not fill the memory of all. */
  deliver(note: Note): void {
    this.#inbox.push(note);
    if (this.#inbox.readableLength > notesWaitingPerReader) {
      this.end(
        new TenonError({
          code: Code.ResourceExhausted,
          reason: 'places.slow_reader',
          message: `more than ${notesWaitingPerReader} notes wait to be read: read faster, or come back later`,
        }),
      );
    }
  }

  /** No more notes: those that wait are still read, unless there was an error. */
  end(error?: Error): void {
    this.onLeave(this);
    if (error) this.#inbox.destroy(error);
    else this.#inbox.push(null);
  }

  [Symbol.asyncIterator](): AsyncIterator<Note> {
    return this.#inbox[Symbol.asyncIterator]() as AsyncIterator<Note>;
  }
}
