export { type Case, type TestApi } from './api.ts';
export { brokerCases, brokerConformance } from './broker.ts';
export { clientCases, clientConformance } from './client.ts';
export {
  codecCases,
  codecConformance,
  type CodecHarness,
  type CodecSample,
  framedCodecCases,
  framedCodecConformance,
  type FramedCodecHarness,
} from './codec.ts';
export {
  failingCases,
  type FailingCasesOptions,
  failureOf,
  thrownBy,
  type UncaughtErrors,
  watchUncaught,
} from './failures.ts';
export {
  collect,
  EventRecorder,
  type LogLine,
  publishText,
  RecordingLogger,
  textOf,
  WatchRecorder,
} from './recorders.ts';
export type { BrokerHarness } from './internal/broker-fixture.ts';
export type { ClientHarness } from './internal/client-harness.ts';
export type { RegistryHarness } from './internal/registry-fixture.ts';
export type { Parts } from './internal/parts.ts';
export type { TransportHarness } from './internal/transport-fixture.ts';
export { registryCases, registryCasesFor, registryConformance } from './registry.ts';
export { selectorCases, selectorCasesFor, selectorConformance, type SelectorHarness } from './selector.ts';
export { serverCases, serverConformance, type ServerHarness } from './server.ts';
export { serviceCases, serviceConformance, type ServiceHarness } from './service.ts';
export { transportCases, transportCasesFor, transportConformance } from './transport.ts';
export { type HeldTimer, HeldTimers, type VirtualRuntime, virtualRuntime, VirtualTimers } from './virtual-time.ts';
export { eventually, type Gate, gate, settled, within, type WithinOptions } from './waiting.ts';
