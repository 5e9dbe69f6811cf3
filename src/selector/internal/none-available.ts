import { Code, TenonError } from '../../errors/errors.ts';
import { counted } from '../../internal/counted.ts';
import { nodeState, type ServiceRecord } from '../../registry/registry.ts';

// Longer lists make the message hard to read.
const maxShown = 5;

/**
 * The error for a service whose nodes are all excluded, by their state or by a filter; the message names them with the
 * reasons.
 */
export function noneAvailable(
  service: string,
  records: readonly ServiceRecord[],
  kept: readonly ServiceRecord[],
): TenonError {
  const passed = new Set(kept.flatMap(({ nodes }) => nodes.map((node) => node.id)));
  const reasons = records.flatMap(({ version, nodes }) =>
    nodes.map((node) => {
      const state = nodeState(node);
      const why = state === 'serving' || !passed.has(node.id) ? 'is excluded by a filter' : `is ${state}`;
      return `${node.id} (version ${version}) ${why}`;
    }),
  );
  const count = counted(reasons.length, 'node');
  const list =
    reasons.slice(0, maxShown).join(', ') +
    (reasons.length > maxShown ? `, and ${reasons.length - maxShown} more` : '');
  return new TenonError({
    code: Code.Unavailable,
    reason: 'selector.none_available',
    message: `none of the ${count} of service "${service}" may be used${list === '' ? '' : `: ${list}`}. Wait for one that serves, or widen the filters`,
  });
}
