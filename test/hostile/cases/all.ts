import type { HostileCase } from '../support/cases.ts';
import { bodyCases } from './bodies.ts';
import { connectionCases } from './connections.ts';
import { headCases } from './heads.ts';
import { messageCases } from './messages.ts';
import { protocolCases } from './protocol.ts';

/** Everything that a bad peer does, by what is bad about it. */
export const groups: Readonly<Record<string, readonly HostileCase[]>> = {
  messages: messageCases,
  bodies: bodyCases,
  heads: headCases,
  protocol: protocolCases,
  connections: connectionCases,
};
