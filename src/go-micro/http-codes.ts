import { Code } from '../errors/errors.ts';

// Go Micro: server/grpc, microErr.
const codes: ReadonlyMap<number, Code> = new Map([
  [400, Code.InvalidArgument],
  [401, Code.Unauthenticated],
  [403, Code.PermissionDenied],
  [404, Code.NotFound],
  [408, Code.DeadlineExceeded],
  [409, Code.AlreadyExists],
  [412, Code.FailedPrecondition],
  [500, Code.Internal],
  [501, Code.Unimplemented],
  [503, Code.Unavailable],
]);

const https: ReadonlyMap<Code, number> = new Map([...codes].map(([http, code]) => [code, http]));

/** gRPC's status code for an `errors.Error`, by Go Micro's table; UNKNOWN for what is not in it. */
export function codeOfHttp(code: number): Code {
  return codes.get(code) ?? Code.Unknown;
}

/** The code of an `errors.Error` for a status of gRPC, by Go Micro's table; 500 for what is not in it. */
export function httpCodeOf(code: Code): number {
  return https.get(code) ?? 500;
}

const phrases: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition Failed',
  413: 'Request Entity Too Large',
  415: 'Unsupported Media Type',
  418: "I'm a teapot",
  422: 'Unprocessable Entity',
  423: 'Locked',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** As `http.StatusText` of Go says it; empty for codes that it has none for. */
export function reasonPhrase(code: number): string {
  return phrases[code] ?? '';
}
