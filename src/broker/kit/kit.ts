export type {
  BrokerDriver,
  DriverHost,
  DriverSubscription,
  ErrorMeaning,
  EventSink,
  IncomingEvent,
  OutgoingEvent,
  PollRequest,
  ReceiveRequest,
} from './driver.ts';
export {
  type BrokerSeams,
  type DriverSetup,
  PortableBroker,
  type PortableBrokerInit,
  type PortableBrokerOptions,
} from './portable-broker.ts';
export { NameEncoding, type NameRule, type WireRules } from './name-encoding.ts';
export type { WildcardRules } from './wildcards.ts';
export { type Delayed, DelayedEvents } from './delayed-events.ts';
export { FailureLog } from './failure-log.ts';
export { HeaderReader, HeaderWriter, readPayload, writeFrame } from './frame.ts';
export { dedupeKeyHeader, orderKeyHeader } from './headers.ts';
export { invalidAddress } from './failures.ts';
