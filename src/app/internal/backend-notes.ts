import type { BindingService } from '@inversifyjs/core';

import { Broker } from '../../broker/broker.ts';
import { DefaultMarshaler } from '../../codec/codec.ts';
import type { BackendNote } from '../../internal/backend-note.ts';
import { Registry } from '../../registry/registry.ts';
import { Selector } from '../../selector/selector.ts';
import { Transport } from '../../transport/transport.ts';
import type { Problem } from '../describe.ts';
import { classBoundTo, type NamedClass } from './capabilities.ts';

const contracts = [Transport, DefaultMarshaler, Registry, Selector, Broker] as const;

type NotingClass = NamedClass & { readonly notes?: unknown };

/** Lists what the classes that are bound as backends say of themselves, by their static `notes()`. */
export function backendNotes(bindings: BindingService): readonly (Problem & Pick<BackendNote, 'level'>)[] {
  return contracts.flatMap((contract) => {
    const bound: NotingClass | undefined = classBoundTo(bindings, contract);
    if (typeof bound?.notes !== 'function') return [];
    const notes = bound.notes() as readonly BackendNote[];
    return notes.map(({ level, message, fix }) => ({ kind: 'backend', where: bound.name, level, message, fix }));
  });
}
