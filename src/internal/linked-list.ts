/** The links of a member of a {@link LinkedList}. A member is in one list at a time. */
export interface Linked<T> {
  next: T | undefined;
  previous: T | undefined;
}

/**
 * Things that come and go often. A `Set` that fills and empties makes new tables all the time, and those that it left
 * keep what was in them from the garbage collector until it looks at everything; here joining and leaving allocate
 * nothing.
 */
export class LinkedList<T extends Linked<T>> implements Iterable<T> {
  size = 0;
  #last: T | undefined;

  /** Without effect on what is in it already. */
  add(member: T): void {
    const last = this.#last;
    if (this.has(member)) return;
    member.previous = last;
    if (last) last.next = member;
    this.#last = member;
    this.size += 1;
  }

  /** Without effect on what is not in the list. */
  delete(member: T): void {
    if (!this.has(member)) return;
    const { next, previous } = member;
    if (next) next.previous = previous;
    else this.#last = previous;
    if (previous) previous.next = next;
    member.next = undefined;
    member.previous = undefined;
    this.size -= 1;
  }

  has(member: T): boolean {
    return member.next !== undefined || member === this.#last;
  }

  /** The members there are when it begins, the newest first, without those that leave meanwhile. */
  *[Symbol.iterator](): Iterator<T> {
    const members: T[] = [];
    for (let member = this.#last; member; member = member.previous) members.push(member);
    for (const member of members) if (this.has(member)) yield member;
  }
}
