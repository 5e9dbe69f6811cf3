/*
 * The parts that every registry of tenon is made of, for those who write one of their own. A backend is a driver;
 * `DrivenRegistry` is the registry over it. docs/writing-a-backend.md has the way.
 */

export {
  AddressList,
  type AddressListOptions,
  type FailoverCall,
  formatAddress,
  parseAddresses,
  type ServerAddress,
} from './address-list.ts';
export { BrokenRecords } from './broken-records.ts';
export type {
  Change,
  DriverCall,
  DriverTools,
  HeldNode,
  Registration,
  RegistryDriver,
  Snapshot,
  WatchFeed,
} from './driver.ts';
export { DrivenRegistry, type DriverSettings, type RegistrySpec } from './driven-registry.ts';
export { type DriverFailure, invalidAddress, invalidService } from './errors.ts';
export { LeaseBook, type LeaseBookOptions, type LeaseKeeper } from './lease-book.ts';
export { type KnownNode, NodeTable } from './node-table.ts';
export { BrokenRecord, checkedNode, decodeNode, encodeNode, serviceParts } from './records.ts';
