import { contract } from 'tenon';

import type { AuditApi } from './api.ts';

/** Where the service is described. The one file serves those who answer and those who call. */
export const protoFile = new URL('../proto/places.proto', import.meta.url);

/** What a client of Places is made of: its `.proto`. The class that implements it need not be there. */
export const placesSource = { proto: protoFile, name: 'places.Places' };

/** What a client of the audit is made of: it has no `.proto`, so its methods are listed; the compiler compares. */
export const auditSource = contract<AuditApi>('audit.Audit', { visits: { idempotent: true } });
