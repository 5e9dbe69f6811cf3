/** The links of a member of a {@link LinkedList}. A member is in one list at a time. */
export interface Linked<T> {
  next: T | undefined;
  previous: T | undefined;
}

/**
 * A doubly linked list of members that are added and deleted often, without allocations. A `Set` that fills and
 * empties allocates new tables all the time, and its old tables keep their members alive until a full collection of
 * garbage.
 */
export class LinkedList<T extends Linked<T>> implements Iterable<T> {
  size = 0;
  #last: T | undefined;

  /** Adds a member; does nothing if the list has it already. */
  add(member: T): void {
    const last = this.#last;
    if (this.has(member)) return;
    member.previous = last;
    if (last) last.next = member;
    this.#last = member;
    this.size += 1;
  }

  /** Deletes a member; does nothing if the list does not have it. */
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

  /** Iterates over the members of the moment, newest first, and skips those that are deleted meanwhile. */
  *[Symbol.iterator](): Iterator<T> {
    const members: T[] = [];
    for (let member = this.#last; member; member = member.previous) members.push(member);
    for (const member of members) if (this.has(member)) yield member;
  }
}
