/*
 * The API of Kubernetes, for backends: `ApiClient` makes the calls, `Reflector` keeps a copy of a list, and
 * `clusterAccess` says where the API server is and who connects.
 */

/** Metadata of an object (ObjectMeta), as far as it is used here. */
export interface ObjectMeta {
  readonly name?: string | undefined;
  readonly uid?: string | undefined;
  /** The version of the object. It is compared for equality only. */
  readonly resourceVersion?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | null | undefined;
  readonly annotations?: Readonly<Record<string, string>> | null | undefined;
  readonly deletionTimestamp?: string | undefined;
}

/** An object of the API. Its other fields are those of its kind. */
export interface ApiObject {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
}

/** A kind of object in one namespace. */
export interface ApiResource {
  /** The API group; empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly namespace: string;
  /** The name in paths: `endpointslices`. */
  readonly plural: string;
}

/** An HTTP request to the API server. */
export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly body?: string | undefined;
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined;
  /** True if it may be sent again though a server may have processed it. */
  readonly isRepeatable: boolean;
}

/** The signal and the time-out of a request. */
export interface ApiCall {
  readonly signal: AbortSignal;
  readonly timeoutMs?: number | undefined;
}

/** The beginning of an answer. */
export interface ApiResponseHead {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** The HTTP connections of an {@link ApiClient}. An `HttpChannel` of the registry's kit is one. */
export interface ApiChannel {
  /** Sends a request, and reads the answer to its end, whatever its status is. */
  request(request: ApiRequest, call: ApiCall): Promise<ApiResponseHead & { readonly body: string }>;
  /** Sends a request whose answer is read by lines. It fails after `idleMs` without a byte. */
  stream(
    request: ApiRequest,
    call: ApiCall & { readonly idleMs: number },
  ): Promise<ApiResponseHead & AsyncIterableIterator<string, undefined>>;
}

/** An answer of the API server that is an error: a `Status`. */
export class ApiError extends Error {
  /** The status of HTTP, or the code of a `Status` in a watch. */
  readonly status: number;
  /** The verb that RBAC knows the request by: `list`. */
  readonly verb: string;
  readonly resource: ApiResource;
  /** The time to wait that the server asks for, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    verb: string,
    resource: ApiResource,
    { status, said, retryAfterMs }: { status: number; said: string; retryAfterMs?: number | undefined },
  ) {
    super(`${verb} ${resource.plural} was answered with status ${status}: ${said}`);
    this.status = status;
    this.verb = verb;
    this.resource = resource;
    this.retryAfterMs = retryAfterMs;
  }
}
