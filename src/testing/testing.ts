export { type Case, type TestApi } from './api.ts';
export { brokerCases, brokerConformance, type BrokerHarness } from './broker.ts';
export { clientCases, clientConformance, type ClientHarness, type Parts } from './client.ts';
export {
  codecCases,
  codecConformance,
  type CodecOptions,
  type CodecSample,
  framedCodecCases,
  framedCodecConformance,
  type FramedCodecOptions,
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
export { registryCases, registryCasesFor, registryConformance, type RegistryHarness } from './registry.ts';
export { selectorCases, selectorCasesFor, selectorConformance, type SelectorHarness } from './selector.ts';
export { serverCases, serverConformance, type ServerHarness } from './server.ts';
export { serviceCases, serviceConformance, type ServiceHarness } from './service.ts';
export { transportCases, transportCasesFor, transportConformance, type TransportOptions } from './transport.ts';
export { type HeldTimer, HeldTimers, type VirtualRuntime, virtualRuntime, VirtualTimers } from './virtual-time.ts';
export { eventually, type Gate, gate, settled, within, type WithinOptions } from './waiting.ts';
