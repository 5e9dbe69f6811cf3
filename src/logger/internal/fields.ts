import type { LogFields } from '../logger.ts';

/** The parts of a server that its log messages name. */
export interface LoggedServer {
  readonly options: { readonly name?: string | undefined; readonly version?: string | undefined };
  readonly nodeId: string;
}

/** The parts of a call or an event that its log messages name. */
export interface LoggedCall {
  readonly service: string;
  readonly endpoint: string;
  readonly peer: string;
  /** The topic of an event. */
  readonly topic: string | undefined;
  /** The metadata `traceparent` (W3C Trace Context). */
  readonly traceparent: string | undefined;
}

/** Gives the fields that name a service: OpenTelemetry's resource attributes. */
export function serviceFields({ options, nodeId }: LoggedServer): LogFields {
  return { 'service.name': options.name, 'service.instance.id': nodeId, 'service.version': options.version };
}

/** Gives the fields that name a call or an event, and its trace. */
export function callFields({ service, endpoint, peer, topic, traceparent }: LoggedCall): LogFields {
  return {
    service,
    endpoint,
    ...(topic === undefined ? {} : { 'messaging.destination.name': topic }),
    ...(peer === '' ? {} : { peer }),
    ...traceFields(traceparent),
  };
}

/** Gives the fields that name the process, for lines of JSON. */
export function processFields(): LogFields {
  return { 'process.pid': process.pid };
}

// W3C Trace Context, 3.2: later versions may add fields behind these, version ff and ids of zeros alone are invalid.
const traceparentPattern = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:$|-)/;
const lengthOfVersion0 = 55;

/** Gives the fields that name the trace and the caller's span; none if the `traceparent` is invalid. */
function traceFields(traceparent = ''): LogFields {
  const [, version, traceId, spanId] = traceparentPattern.exec(traceparent) ?? [];
  if (traceId === undefined || (version === '00' && traceparent.length !== lengthOfVersion0)) return {};
  return { trace_id: traceId, span_id: spanId };
}
