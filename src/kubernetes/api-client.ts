import {
  type ApiCall,
  type ApiChannel,
  ApiError,
  type ApiObject,
  type ApiRequest,
  type ApiResource,
  type ApiResponseHead,
} from './kubernetes.ts';
import type { ServerClock } from './server-clock.ts';

/** Proves to an API server who connects. */
export interface ApiCredentials {
  /** The token to show now; `undefined` for none. */
  token(): Promise<string | undefined>;
  /** Takes note that the API server refused a token. Returns false if there is no other one to show. */
  refused(token: string | undefined): boolean;
}

/** Options of an {@link ApiClient}. */
export interface ApiClientOptions {
  readonly channel: ApiChannel;
  readonly credentials: ApiCredentials;
  readonly clock: ServerClock;
  /** Time-out of each request in milliseconds. */
  readonly timeoutMs: number;
}

/** Objects of a list, with the version of the whole. */
export interface ApiList<T extends ApiObject> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

/** Parameters of lists and watches. */
export interface Selection {
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

/** An event of a watch. A bookmark has nothing but a version. */
export interface WatchEvent<T extends ApiObject> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: T;
}

const pageSize = 500;
const verbs = { GET: 'get', POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' } as const;
type Method = keyof typeof verbs;
type Request = Omit<ApiRequest, 'method' | 'path' | 'isRepeatable'> & {
  readonly verb?: string;
  readonly mayTakeLong?: boolean;
};

interface Page<T> {
  readonly items?: readonly T[] | null;
  readonly metadata?: { readonly continue?: string; readonly resourceVersion?: string };
}

/**
 * Calls the API of Kubernetes. A request whose token is refused (401) is made once more if there is another token.
 * Errors of the server are {@link ApiError}s, others are those of the channel and of the credentials.
 */
export class ApiClient {
  readonly #options: ApiClientOptions;

  constructor(options: ApiClientOptions) {
    this.#options = options;
  }

  /** Reads a whole list, in pages of one version. */
  async list<T extends ApiObject>(resource: ApiResource, by: Selection, signal: AbortSignal): Promise<ApiList<T>> {
    try {
      return await this.#pages<T>(resource, { ...by, limit: pageSize }, signal);
    } catch (error) {
      // The version of the first page was compacted before the last was read.
      if (!isGone(error)) throw error;
      return this.#pages<T>(resource, { ...by }, signal);
    }
  }

  /** Reads the version that the API server has now. */
  async version(resource: ApiResource, by: Selection, signal: AbortSignal): Promise<string> {
    const { resourceVersion } = await this.#page(resource, { ...by, limit: 1 }, signal);
    return resourceVersion;
  }

  /** Reads an object; `undefined` if there is none. */
  async get<T extends ApiObject>(resource: ApiResource, name: string, signal: AbortSignal): Promise<T | undefined> {
    return unlessAbsent(this.#call<T>('GET', resource, name, {}, signal));
  }

  create<T extends ApiObject>(resource: ApiResource, object: T, signal: AbortSignal): Promise<T> {
    return this.#call<T>('POST', resource, undefined, { body: JSON.stringify(object) }, signal);
  }

  /** Replaces an object, of the version in its metadata. */
  update<T extends ApiObject>(resource: ApiResource, object: T, signal: AbortSignal): Promise<T> {
    return this.#call<T>('PUT', resource, object.metadata?.name, { body: JSON.stringify(object) }, signal);
  }

  /** Merges fields into an object (RFC 7386); `undefined` if there is none. */
  patch<T extends ApiObject>(
    resource: ApiResource,
    name: string,
    fields: object,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const headers = { 'content-type': 'application/merge-patch+json' };
    return unlessAbsent(this.#call<T>('PATCH', resource, name, { body: JSON.stringify(fields), headers }, signal));
  }

  /** Deletes an object of just this version, if it is there. */
  async delete(
    resource: ApiResource,
    name: string,
    { uid, resourceVersion }: { readonly uid: string; readonly resourceVersion: string },
    signal: AbortSignal,
  ): Promise<void> {
    const preconditions = { uid, resourceVersion };
    const body = JSON.stringify({ kind: 'DeleteOptions', apiVersion: 'v1', preconditions });
    await unlessAbsent(this.#call('DELETE', resource, name, { body }, signal));
  }

  /**
   * Watches a list from a version on. Resolves when the server has answered; the events come until the server ends the
   * watch. An `ERROR` among them is thrown, with its code as the status. Fails after `idleMs` without a byte.
   */
  async watch<T extends ApiObject>(
    resource: ApiResource,
    by: Selection & { readonly resourceVersion: string; readonly timeoutSeconds: number },
    { signal, idleMs }: { readonly signal: AbortSignal; readonly idleMs: number },
  ): Promise<AsyncIterable<WatchEvent<T>>> {
    const query = { ...by, watch: true, allowWatchBookmarks: true };
    const request = requestOf('GET', resource, undefined, { query });
    const { channel, clock, timeoutMs } = this.#options;
    const stream = await this.#authorized(request, signal, async (authorized) => {
      const send = (): ReturnType<ApiChannel['stream']> => channel.stream(authorized, { signal, idleMs, timeoutMs });
      const answer = await clock.timed(send, { signal, mayTakeLong: true });
      if (answer.status === 200) return answer;
      const lines: string[] = [];
      for await (const line of answer) lines.push(line);
      throw errorOf('watch', resource, answer, lines.join('\n'));
    });
    return eventsOf<T>(stream, resource, clock);
  }

  async #pages<T extends ApiObject>(
    resource: ApiResource,
    query: NonNullable<ApiRequest['query']>,
    signal: AbortSignal,
  ): Promise<ApiList<T>> {
    const items: T[] = [];
    for (let token: string | undefined; ;) {
      const page = await this.#page<T>(resource, { ...query, continue: token }, signal);
      items.push(...page.items);
      token = page.next;
      if (token === undefined) return { items, resourceVersion: page.resourceVersion };
    }
  }

  async #page<T extends ApiObject>(
    resource: ApiResource,
    query: NonNullable<ApiRequest['query']>,
    signal: AbortSignal,
  ): Promise<ApiList<T> & { readonly next: string | undefined }> {
    // One object, or its version, costs the server little.
    const mayTakeLong = query['limit'] !== 1 && query['fieldSelector'] === undefined;
    const more = { query, verb: 'list', mayTakeLong };
    const page = await this.#call<Page<T>>('GET', resource, undefined, more, signal);
    const { resourceVersion, continue: next } = page.metadata ?? {};
    if (resourceVersion === undefined) throw noApiServer(JSON.stringify(page));
    return { items: page.items ?? [], resourceVersion, next: next || undefined };
  }

  #call<T>(
    method: Method,
    resource: ApiResource,
    name: string | undefined,
    more: Request,
    signal: AbortSignal,
  ): Promise<T> {
    const { channel, clock, timeoutMs } = this.#options;
    const call: ApiCall = { signal, timeoutMs };
    return this.#authorized(requestOf(method, resource, name, more), signal, async (request) => {
      const { mayTakeLong = false } = more;
      const answer = await clock.timed(() => channel.request(request, call), { signal, mayTakeLong });
      if (answer.status >= 200 && answer.status < 300) return parsed<T>(answer.body);
      throw errorOf(more.verb ?? verbs[method], resource, answer, answer.body);
    });
  }

  async #authorized<T>(
    request: ApiRequest,
    signal: AbortSignal,
    send: (request: ApiRequest) => Promise<T>,
  ): Promise<T> {
    const { credentials } = this.#options;
    for (let isRepetition = false; ; isRepetition = true) {
      const token = await credentials.token();
      signal.throwIfAborted();
      const authorization = token === undefined ? undefined : `Bearer ${token}`;
      try {
        return await send({ ...request, headers: { ...request.headers, authorization } });
      } catch (error) {
        const isRefused = error instanceof ApiError && error.status === 401;
        if (!isRefused || isRepetition || !credentials.refused(token)) throw error;
      }
    }
  }
}

/** True if an answer says that a version is too old: the list is to be read again. */
export function isGone(error: unknown): boolean {
  return error instanceof ApiError && error.status === 410;
}

function requestOf(method: Method, resource: ApiResource, name: string | undefined, more: Request): ApiRequest {
  const { group, version, namespace, plural } = resource;
  const base = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const path = `${base}/namespaces/${encodeURIComponent(namespace)}/${plural}`;
  const { verb: _, mayTakeLong: __, ...request } = more;
  // What is written names the version that it replaces, so that a repetition is told apart by its conflict.
  return {
    method,
    path: name === undefined ? path : `${path}/${encodeURIComponent(name)}`,
    isRepeatable: true,
    ...request,
    headers: { accept: 'application/json', ...request.headers },
  };
}

async function* eventsOf<T extends ApiObject>(
  lines: AsyncIterable<string>,
  resource: ApiResource,
  clock: ServerClock,
): AsyncGenerator<WatchEvent<T>> {
  for await (const line of lines) {
    if (line.trim() === '') continue;
    clock.heard();
    const event = parsed<WatchEvent<T> | { readonly type: 'ERROR'; readonly object?: object }>(line);
    if (event.type === 'ERROR') {
      const { code = 500, message = line.slice(0, 400) } = (event.object ?? {}) as { code?: number; message?: string };
      throw new ApiError('watch', resource, { status: code, said: message });
    }
    yield event;
  }
}

function errorOf(verb: string, resource: ApiResource, { status, headers }: ApiResponseHead, body: string): ApiError {
  const seconds = Number(headers['retry-after'] ?? Number.NaN);
  return new ApiError(verb, resource, {
    status,
    said: saidIn(body),
    retryAfterMs: seconds >= 0 ? seconds * 1_000 : undefined,
  });
}

/** The message of a `Status`, or the beginning of what is none. */
function saidIn(body: string): string {
  let message: unknown;
  try {
    message = (JSON.parse(body) as { readonly message?: unknown } | null)?.message;
  } catch {
    // A proxy in between has answered.
  }
  return (typeof message === 'string' ? message : body).slice(0, 400).replace(/\s+/g, ' ').trim();
}

function parsed<T>(text: string): T {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as T;
  } catch {
    // As for a value that is no object.
  }
  throw noApiServer(text);
}

function noApiServer(text: string): Error {
  return new Error(`what answers is no API server of Kubernetes: it said "${text.slice(0, 80).replace(/\s+/g, ' ')}"`);
}

async function unlessAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}
