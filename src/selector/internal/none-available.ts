import { Code, TenonError } from '../../errors/errors.ts';
import { counted } from '../../internal/counted.ts';
import { nodeState, type ServiceRecord } from '../../registry/registry.ts';

// A message is read by people: a fleet does not fit into it.
const shown = 5;

/** The error for a service with nodes of which none may be used: how many there are, and why each is left out. */
export function noneAvailable(
  service: string,
  records: readonly ServiceRecord[],
  kept: readonly ServiceRecord[],
): TenonError {
  const passed = new Set(kept.flatMap(({ nodes }) => nodes.map((node) => node.id)));
  const reasons = records.flatMap(({ version, nodes }) =>
    nodes.map((node) => {
      const state = nodeState(node);
      const why = state === 'serving' || !passed.has(node.id) ? 'is left out by a filter' : `is ${state}`;
      return `${node.id} (version ${version}) ${why}`;
    }),
  );
  const count = counted(reasons.length, 'node');
  const list =
    reasons.slice(0, shown).join(', ') + (reasons.length > shown ? `, and ${reasons.length - shown} more` : '');
  return new TenonError({
    code: Code.Unavailable,
    reason: 'selector.none_available',
    message: `none of the ${count} of service "${service}" may be used${list === '' ? '' : `: ${list}`}. Wait for one that serves, or widen the filters`,
  });
}
