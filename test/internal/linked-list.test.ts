import { expect, it } from '@jest/globals';

import { type Linked, LinkedList } from '../../src/internal/linked-list.ts';

class Member implements Linked<Member> {
  next: Member | undefined;
  previous: Member | undefined;
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

function listOf(names: string): { list: LinkedList<Member>; members: Member[] } {
  const list = new LinkedList<Member>();
  const members = names.split('').map((name) => new Member(name));
  for (const member of members) list.add(member);
  return { list, members };
}

const namesIn = (list: LinkedList<Member>): string => [...list].map(({ name }) => name).join('');

it.each([
  ['a', 'cb'],
  ['b', 'ca'],
  ['c', 'ba'],
])('LinkedList without %s iterates over %s', (gone, left) => {
  const { list, members } = listOf('abc');
  list.delete(members.find(({ name }) => name === gone)!);
  expect([namesIn(list), list.size]).toEqual([left, 2]);
});

it('LinkedList adds a member once, and deletes it once', () => {
  const { list, members } = listOf('ab');
  for (const member of members) list.add(member);
  expect([namesIn(list), list.size]).toEqual(['ba', 2]);
  const [a] = members as [Member, Member];
  list.delete(a);
  list.delete(a);
  list.delete(new Member('stranger'));
  expect([namesIn(list), list.size]).toEqual(['b', 1]);
  list.add(a);
  expect(namesIn(list)).toBe('ab');
});

it('LinkedList skips a member that is deleted during an iteration', () => {
  const { list, members } = listOf('abc');
  const seen: string[] = [];
  for (const { name } of list) {
    seen.push(name);
    list.delete(members[1]!);
  }
  expect(seen).toEqual(['c', 'a']);
});
