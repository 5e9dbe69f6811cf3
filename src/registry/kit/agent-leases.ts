import { onAbort } from '../../internal/abort.ts';
import { pause } from '../../runtime/bounded.ts';
import { retrying } from '../../runtime/retrying.ts';
import { type AddressList, formatAddress, isFaultOfAddress, type ServerAddress } from './address-list.ts';
import type { DriverTools, Registration } from './driver.ts';
import { LeaseManager, type Renewed, takenElsewhere } from './lease-manager.ts';
import { nodeKey } from './node-table.ts';

/** The owner of a node at an agent: this process, another one that renews it, or nobody who is alive. */
export type Holder = 'own' | 'other' | 'nobody';

/** Registers nodes at agents: servers of which each keeps its own registrations. */
export interface AgentBackend {
  /** Registers a node at an agent, or replaces its record there. */
  register(registration: Registration, at: ServerAddress, signal: AbortSignal, timeoutMs: number): Promise<void>;
  /** Renews the lease of a record that did not change. False if the agent does not have it. */
  renew(registration: Registration, at: ServerAddress, signal: AbortSignal): Promise<boolean>;
  /** Says whose the node is at an agent. @default own */
  holder?(registration: Registration, at: ServerAddress, signal: AbortSignal): Promise<Holder>;
  /** Removes a node from an agent, if it has it, and it is of this process. */
  remove(registration: Registration, at: ServerAddress, signal: AbortSignal): Promise<void>;
  /** Removes a node of this process from agents to which one address leads in turn. @default nothing is left there */
  clear?(registration: Registration, signal: AbortSignal): Promise<void>;
  /** True for an answer after which another agent may do better. @default false */
  isFaultOfAgent?(error: unknown): boolean;
}

/** Options of {@link agentLeases}. */
export interface AgentLeasesOptions extends Omit<DriverTools, 'security'> {
  /** The registry's name, for logs. */
  readonly registry: string;
  readonly addresses: AddressList;
  /** Time for a registration, in milliseconds, all agents together. */
  readonly timeoutMs: number;
  /** Ends what goes on in the background. */
  readonly signal: AbortSignal;
}

// The agent has ended the lease long before.
const maxAttempts = 60;
// What an agent held while it hung, it does within this time after its first answer.
const settleMs = 1_000;

/** The agent that has a node, and when it answered last. */
export interface Place {
  readonly at: ServerAddress;
  answeredMs: number;
  /** True while another process has the node there. */
  isTaken: boolean;
}

/**
 * Keeps each registration at the agent that took it, as another one would have it twice. When the agent has not
 * answered for half a TTL and there are others, one of them gets it, and it is removed from the first once that
 * answers; after 60 attempts that is given up. The agents end leases by themselves. A node that another process has
 * registered at the same agent since is that process's until its lease ends.
 */
export function agentLeases(backend: AgentBackend, options: AgentLeasesOptions): LeaseManager<Place> {
  const { addresses, clock, timers, timeoutMs, signal: closing } = options;
  const now = (): number => clock.monotonicMs();
  const isFault = (error: unknown): boolean => isFaultOfAddress(error) || backend.isFaultOfAgent?.(error) === true;
  const keyOf = ({ service, node }: Registration): string => nodeKey(service.name, node.id);
  /** Agents that may have a node besides the one to which it goes next. */
  const strays = new Map<string, Set<ServerAddress>>();
  /** Removals that go on, by the agent and the node. */
  const leaving = new Map<string, AbortController>();
  const leavingKey = (registration: Registration, at: ServerAddress): string =>
    `${formatAddress(at)} ${keyOf(registration)}`;
  onAbort(closing, () => {
    for (const one of leaving.values()) one.abort();
  });

  const suspect = (registration: Registration, at: ServerAddress): void => {
    const key = keyOf(registration);
    strays.set(key, new Set(strays.get(key)).add(at));
  };

  /** Removes a node from an agent that did not answer, when it does. Never rejects. */
  const leave = async (registration: Registration, at: ServerAddress): Promise<void> => {
    const key = leavingKey(registration, at);
    if (closing.aborted) return;
    const stopping = new AbortController();
    leaving.set(key, stopping);
    const { signal } = stopping;
    const work = async (): Promise<void> => {
      await backend.remove(registration, at, signal);
      // It may register the node once more.
      await pause(timers, settleMs, signal);
      await backend.remove(registration, at, signal);
    };
    // An agent that is back may refuse for a while.
    let failures = 0;
    const onFailure = (error: unknown): void => {
      failures += 1;
      if (failures === maxAttempts) throw error;
    };
    const how = { runtime: options, signal, keepAlive: false, backoff: { maxMs: 5_000 }, onFailure };
    await retrying(work, how).catch(() => {});
    if (leaving.get(key) === stopping) leaving.delete(key);
  };

  /** Ends a removal, as the node goes to that agent again. */
  const stay = (registration: Registration, at: ServerAddress): void => {
    const key = leavingKey(registration, at);
    leaving.get(key)?.abort();
    leaving.delete(key);
  };

  /** Removes a node from the agents that may have it besides the one at `at`. */
  const leaveOthers = (registration: Registration, { at }: Place): void => {
    const key = keyOf(registration);
    for (const other of strays.get(key) ?? []) if (other !== at) void leave(registration, other);
    strays.delete(key);
  };

  const grant = async (registration: Registration, signal: AbortSignal): Promise<Place> => {
    const attempt = async (at: ServerAddress, left: number): Promise<Place> => {
      stay(registration, at);
      try {
        await backend.register(registration, at, signal, timeoutMs / left);
        return { at, answeredMs: now(), isTaken: false };
      } catch (error) {
        suspect(registration, at);
        throw error;
      }
    };
    const place = await addresses.inTurn(attempt, (error) => isFault(error) && !signal.aborted);
    leaveOthers(registration, place);
    return place;
  };

  const atItsAgent = async (
    place: Place,
    registration: Registration,
    work: () => Promise<Renewed<Place>>,
  ): Promise<Renewed<Place>> => {
    try {
      const renewed = await work();
      place.answeredMs = now();
      return renewed;
    } catch (error) {
      const isSilent = isFault(error) && now() - place.answeredMs >= registration.ttlMs / 2;
      if (!isSilent || addresses.inOrder.length === 1) throw error;
      addresses.failed(place.at);
      suspect(registration, place.at);
      return undefined;
    }
  };

  /** Asks for the owner of a node. That it cannot be told is no failure of a renewal. */
  const holder = async (place: Place, registration: Registration, signal: AbortSignal): Promise<Holder> => {
    if (!backend.holder) return 'own';
    const asked = backend.holder(registration, place.at, signal);
    return place.isTaken ? asked : asked.catch(() => 'own');
  };

  const renew = async (place: Place, registration: Registration, signal: AbortSignal): Promise<Renewed<Place>> => {
    // A renewal of what another process has would keep it when that process is gone.
    const renewal = place.isTaken ? false : backend.renew(registration, place.at, signal);
    const [isKept, whose] = await Promise.all([renewal, holder(place, registration, signal)]);
    place.isTaken = whose === 'other';
    if (place.isTaken) return takenElsewhere;
    return isKept ? place : undefined;
  };

  const replace = async (place: Place, registration: Registration, signal: AbortSignal): Promise<Renewed<Place>> => {
    place.isTaken = (await holder(place, registration, signal)) === 'other';
    if (place.isTaken) return takenElsewhere;
    await backend.register(registration, place.at, signal, timeoutMs);
    return place;
  };

  return new LeaseManager<Place>(
    {
      grant,
      renew: (place, registration, signal) => atItsAgent(place, registration, () => renew(place, registration, signal)),
      replace: (place, registration, signal) =>
        atItsAgent(place, registration, () => replace(place, registration, signal)),
      revoke: async (place, registration, signal) => {
        leaveOthers(registration, place);
        await backend.remove(registration, place.at, signal);
        await backend.clear?.(registration, signal);
      },
    },
    { ...options, lapses: true },
  );
}
