import type { LogFields } from '../logger.ts';

/** The server of a service, as far as its log names it. */
export interface LoggedServer {
  readonly options: { readonly name?: string | undefined; readonly version?: string | undefined };
  readonly nodeId: string;
}

/** A call or an event as its log names it. */
export interface LoggedCall {
  readonly service: string;
  readonly endpoint: string;
  readonly peer: string;
  /** Of an event. */
  readonly topic: string | undefined;
  /** What came with it under that key (W3C Trace Context). */
  readonly traceparent: string | undefined;
}

/** Names the service that a message is about, in OpenTelemetry's words (its resource attributes). */
export function serviceFields({ options, nodeId }: LoggedServer): LogFields {
  return { 'service.name': options.name, 'service.instance.id': nodeId, 'service.version': options.version };
}

/** Names the call or event that a message is about, and its trace. */
export function callFields({ service, endpoint, peer, topic, traceparent }: LoggedCall): LogFields {
  return {
    service,
    endpoint,
    ...(topic === undefined ? {} : { 'messaging.destination.name': topic }),
    ...(peer === '' ? {} : { peer }),
    ...traceFields(traceparent),
  };
}

/** Names the process, for lines that machines read. */
export function processFields(): LogFields {
  return { 'process.pid': process.pid };
}

// W3C Trace Context, 3.2: later versions may add fields behind these, version ff and ids of zeros alone are invalid.
const traceparentPattern = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:$|-)/;
const lengthOfVersion0 = 55;

/** Names the trace and the caller's span; nothing for what is no `traceparent`. */
function traceFields(traceparent = ''): LogFields {
  const [, version, traceId, spanId] = traceparentPattern.exec(traceparent) ?? [];
  if (traceId === undefined || (version === '00' && traceparent.length !== lengthOfVersion0)) return {};
  return { trace_id: traceId, span_id: spanId };
}
