import { podKeysOf, podLabel, recordSuffix } from '../go-micro/kubernetes.ts';
import type { ApiClient, Selection } from './api-client.ts';
import { ApiError, type ApiObject, type ApiResource } from './kubernetes.ts';
import { type FormerNode, serviceJson } from './leased-slice.ts';

/** A pod. */
export interface Pod extends ApiObject {
  readonly status?: { readonly phase?: string | null } | null | undefined;
}

/** The pods of a namespace. */
export function podsOf(namespace: string): ApiResource {
  return { group: '', version: 'v1', namespace, plural: 'pods' };
}

/** Selects the pods that have a service, or any; `undefined` if none can have it. */
export function podsWith(service: string | undefined): Selection | undefined {
  if (service === undefined) return { labelSelector: `${podLabel.name}=${podLabel.value}` };
  const keys = podKeysOf(service);
  return keys && { labelSelector: `${keys.label}=${keys.value}` };
}

/** Begins the annotation that says which registry has written a record. */
const ownerPrefix = 'tenon/owner-';

/** Returns the records that Go Micro's services have in a pod that runs. Those of tenon have a slice. */
export function recordsOf({
  metadata,
  status,
}: Pod): readonly { readonly annotation: string; readonly text: string }[] {
  if (status?.phase !== 'Running' || metadata?.deletionTimestamp !== undefined) return [];
  const annotations = metadata?.annotations ?? {};
  return Object.entries(annotations).flatMap(([annotation, text]) => {
    const suffix = recordSuffix(annotation);
    return suffix === undefined || annotations[ownerPrefix + suffix] !== undefined ? [] : [{ annotation, text }];
  });
}

/** Tools of {@link PodRecords}. */
export interface PodRecordsTools<T> {
  readonly client: Pick<ApiClient, 'get' | 'patch'>;
  readonly pods: ApiResource;
  /** The pod of this process. */
  readonly pod: string;
  /** Id of this registry. */
  readonly owner: string;
  /** Says the service and the node of a registration. */
  readonly nodeOf: (registration: T) => { readonly service: string; readonly id: string };
  /** Writes the Service JSON of registrations of one service. */
  readonly encode: (registrations: readonly T[]) => string;
}

/** A record in a pod, and the id of the registry that has written it. */
interface FoundRecord {
  readonly record: string | undefined;
  readonly owner: string | undefined;
}

// Others, such as the kubelet, may write between a read and a write.
const maxAttempts = 5;

/**
 * The records of this process in the annotations of its pod, where Go Micro's services look. There is no lease: they
 * stay until they are withdrawn, or the pod ends.
 */
export class PodRecords<T> {
  readonly #tools: PodRecordsTools<T>;
  readonly #registrations = new Map<string, Map<string, T>>();
  #last: Promise<void> = Promise.resolve();

  constructor(tools: PodRecordsTools<T>) {
    this.#tools = tools;
  }

  /** Adds or replaces a node. Throws an {@link ApiError} with status 404 if there is no such pod. */
  publish(registration: T, signal: AbortSignal): Promise<void> {
    const { service, id } = this.#tools.nodeOf(registration);
    let known = this.#registrations.get(service);
    if (!known) this.#registrations.set(service, (known = new Map<string, T>()));
    known.set(id, registration);
    return this.#inTurn(() => this.#write(service, signal));
  }

  /** Removes a node, unless another registry has written its service since. */
  withdraw(registration: T, signal: AbortSignal): Promise<void> {
    const { service, id } = this.#tools.nodeOf(registration);
    this.forget(service, id);
    return this.#inTurn(() =>
      this.#registrations.has(service) ? this.#write(service, signal) : this.#erase(service, signal),
    );
  }

  /**
   * Removes a node that is not published here: one whose publication was not answered, or one that another registry
   * publishes at the same address, as a thread of this process does.
   */
  withdrawFormer(former: FormerNode, signal: AbortSignal): Promise<void> {
    const { service, id, address } = former;
    return this.#inTurn(() =>
      this.#rewrite(service, signal, ({ record, owner }) => {
        // Those of Go Micro have no owner.
        if (owner === undefined) return undefined;
        const found = serviceJson(record);
        const isOurs = (at: unknown): boolean =>
          owner === this.#tools.owner || (address !== undefined && at === address);
        const nodes = found.nodes.filter((node) => node.id !== id || !isOurs(node.address));
        if (nodes.length === found.nodes.length) return undefined;
        return nodes.length === 0 ? null : JSON.stringify({ ...found, nodes });
      }),
    );
  }

  /** Lets go of a node that another registry publishes from now on. */
  forget(service: string, id: string): void {
    const known = this.#registrations.get(service);
    known?.delete(id);
    if (known?.size === 0) this.#registrations.delete(service);
  }

  /** Writes that overtake each other would leave what is older. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const run = this.#last.then(work);
    this.#last = run.catch(() => {});
    return run;
  }

  async #write(service: string, signal: AbortSignal): Promise<void> {
    const { client, pods, pod, owner, encode } = this.#tools;
    const registrations = [...(this.#registrations.get(service)?.values() ?? [])];
    if (registrations.length === 0) return;
    const keys = podKeysOf(service);
    if (!keys) throw this.#error(400, `Go Micro finds no service with the name "${service}" in Kubernetes`);
    const labels = { [podLabel.name]: podLabel.value, [keys.label]: keys.value };
    const annotations = { [keys.annotation]: encode(registrations), [ownerOf(keys.annotation)]: owner };
    const written = await client.patch(pods, pod, { metadata: { labels, annotations } }, signal);
    if (!written) throw this.#error(404, `there is no pod "${pod}"`);
  }

  #erase(service: string, signal: AbortSignal): Promise<void> {
    return this.#rewrite(service, signal, ({ owner }) => (owner === this.#tools.owner ? null : undefined));
  }

  /** Replaces the record of a service in the pod. `change` gives the new one, null to remove it, undefined for none. */
  async #rewrite(
    service: string,
    signal: AbortSignal,
    change: (found: FoundRecord) => string | null | undefined,
  ): Promise<void> {
    const { client, pods, pod } = this.#tools;
    const keys = podKeysOf(service);
    for (let attempt = 1; keys; attempt += 1) {
      const { metadata } = (await client.get<Pod>(pods, pod, signal)) ?? {};
      const found: Readonly<Record<string, string>> = metadata?.annotations ?? {};
      const record = change({ record: found[keys.annotation], owner: found[ownerOf(keys.annotation)] });
      if (record === undefined) return;
      const isGone = record === null;
      const annotations = { [keys.annotation]: record, ...(isGone && { [ownerOf(keys.annotation)]: null }) };
      const labels = isGone ? { [keys.label]: null } : {};
      try {
        const fields = { metadata: { resourceVersion: metadata?.resourceVersion, labels, annotations } };
        return void (await client.patch(pods, pod, fields, signal));
      } catch (error) {
        if (attempt === maxAttempts || !(error instanceof ApiError && error.status === 409)) throw error;
      }
    }
  }

  #error(status: number, said: string): ApiError {
    return new ApiError('patch', this.#tools.pods, { status, said });
  }
}

function ownerOf(annotation: string): string {
  return ownerPrefix + (recordSuffix(annotation) ?? '');
}
