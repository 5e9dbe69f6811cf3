/*
 * The parts of which tenon's registries are made, for authors of others. A backend is a `RegistryDriver`; the registry
 * over it is a `DrivenRegistry`. docs/writing-a-backend.md goes through the steps.
 */

export {
  AddressList,
  type AddressListOptions,
  assertUsername,
  type FailoverCall,
  formatAddress,
  parseAddresses,
  type ServerAddress,
} from './address-list.ts';
export { type AgentBackend, agentLeases, type AgentLeasesOptions, type Holder, type Place } from './agent-leases.ts';
export {
  type AnnouncedAction,
  AnsweredNodes,
  type AnsweredNodesOptions,
  type Claim,
  type ClaimedNode,
  ClaimedNodes,
} from './answered-nodes.ts';
export { BrokenRecords } from './broken-records.ts';
export type {
  Change,
  DriverCall,
  DriverTools,
  LeasedNode,
  Registration,
  RegistryDriver,
  Snapshot,
  WatchFeed,
} from './driver.ts';
export { DrivenRegistry, type DriverSettings, type RegistrySpec } from './driven-registry.ts';
export {
  ChannelCallError,
  type DriverFailure,
  GrpcCallError,
  HttpCallError,
  invalidAddress,
  invalidService,
} from './errors.ts';
export { LeaseManager, type LeaseManagerOptions, type LeaseBackend } from './lease-manager.ts';
export { LongPoll, type LongPollOptions, type PolledRead } from './long-poll.ts';
export { NodeLimit } from './node-limit.ts';
export { type KnownNode, NodeTable } from './node-table.ts';
export { PolledServices, type PolledServicesOptions } from './polled-services.ts';
export { BrokenRecord, checkedNode, decodeNode, eachNode, encodeNode, pathPart, serviceParts } from './records.ts';
export { WatchFeeds } from './watch-feeds.ts';
