/** The label of a pod that has services, and its value. */
export const podLabel = { name: 'micro.mu/type', value: 'service' } as const;

const selectorPrefix = 'micro.mu/selector-';
const recordPrefix = 'micro.mu/service-';
// Names of labels have at most 63 characters behind their slash.
const isSuffix = /^[\w.-]{0,53}[a-z\d]$/i;

/** The label and the annotation of a pod that has a certain service. */
export interface PodKeys {
  /** The label by which the pod is found. */
  readonly label: string;
  /** The value of `label`. */
  readonly value: string;
  /** The annotation with the Service JSON. */
  readonly annotation: string;
}

/**
 * Returns the keys of a service; `undefined` if Kubernetes does not take them. Bytes that a label cannot have are
 * underscores there, so that services may share keys.
 */
export function podKeysOf(service: string): PodKeys | undefined {
  const suffix = [...Buffer.from(service)]
    .map((byte) => String.fromCharCode(byte))
    .map((character) => (/[-\w.]/.test(character) ? character : '_'))
    .join('');
  if (!isSuffix.test(suffix)) return undefined;
  return { label: selectorPrefix + suffix, value: podLabel.value, annotation: recordPrefix + suffix };
}

/** Returns what is behind the prefix of an annotation with a Service JSON; `undefined` for another annotation. */
export function recordSuffix(annotation: string): string | undefined {
  return annotation.startsWith(recordPrefix) ? annotation.slice(recordPrefix.length) : undefined;
}
