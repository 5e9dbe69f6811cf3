import { retrying } from '../../runtime/retrying.ts';
import { type AddressList, isFaultOfAddress, type ServerAddress } from './address-list.ts';
import type { DriverTools, Registration } from './driver.ts';
import { LeaseManager } from './lease-manager.ts';
import { nodeKey } from './node-table.ts';

/** Registers nodes at agents: servers of which each keeps its own registrations. */
export interface AgentBackend {
  /** Registers a node at an agent, or replaces its record there. */
  register(registration: Registration, at: ServerAddress, signal: AbortSignal, timeoutMs: number): Promise<void>;
  /** Renews the lease of a record that did not change. False if the agent does not have it. */
  renew(registration: Registration, at: ServerAddress, signal: AbortSignal): Promise<boolean>;
  /** Removes a node from an agent, if it has it. */
  remove(registration: Registration, at: ServerAddress, signal: AbortSignal): Promise<void>;
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

/** The agent that has a node, and when it answered last. */
export interface Place {
  readonly at: ServerAddress;
  answeredMs: number;
}

/**
 * Keeps each registration at the agent that took it, as another one would have it twice. When the agent has not
 * answered for half a TTL and there are others, one of them gets it, and it is removed from the first once that
 * answers. The agents end leases by themselves.
 */
export function agentLeases(backend: AgentBackend, options: AgentLeasesOptions): LeaseManager<Place> {
  const { addresses, clock, timeoutMs, signal: closing } = options;
  const now = (): number => clock.monotonicMs();
  const keyOf = ({ service, node }: Registration): string => nodeKey(service.name, node.id);
  /** Agents that may have a node besides the one to which it goes next. */
  const strays = new Map<string, Set<ServerAddress>>();
  const suspect = (registration: Registration, at: ServerAddress): void => {
    const key = keyOf(registration);
    strays.set(key, new Set(strays.get(key)).add(at));
  };

  /** Removes a node from an agent that did not answer, when it does. Never rejects. */
  const leave = async (registration: Registration, at: ServerAddress): Promise<void> => {
    const key = keyOf(registration);
    const isBack = (): boolean =>
      [...leases.entries()].some((one) => one.grant?.at === at && keyOf(one.registration) === key);
    const work = async (): Promise<void> => {
      if (!isBack()) await backend.remove(registration, at, closing);
    };
    // An agent that is back may refuse for a while.
    let failures = 0;
    const onFailure = (error: unknown): void => {
      failures += 1;
      if (failures === maxAttempts) throw error;
    };
    const how = { runtime: options, signal: closing, keepAlive: false, backoff: { maxMs: 5_000 }, onFailure };
    await retrying(work, how).catch(() => {});
  };

  const grant = async (registration: Registration, signal: AbortSignal): Promise<Place> => {
    const attempt = async (at: ServerAddress, left: number): Promise<Place> => {
      try {
        await backend.register(registration, at, signal, timeoutMs / left);
        return { at, answeredMs: now() };
      } catch (error) {
        suspect(registration, at);
        throw error;
      }
    };
    const place = await addresses.inTurn(attempt, (error) => isFaultOfAddress(error) && !signal.aborted);
    const key = keyOf(registration);
    for (const at of strays.get(key) ?? []) if (at !== place.at) void leave(registration, at);
    strays.delete(key);
    return place;
  };

  const atItsAgent = async (
    place: Place,
    registration: Registration,
    work: () => Promise<boolean>,
  ): Promise<Place | undefined> => {
    try {
      const isKept = await work();
      place.answeredMs = now();
      return isKept ? place : undefined;
    } catch (error) {
      const isSilent = isFaultOfAddress(error) && now() - place.answeredMs >= registration.ttlMs / 2;
      if (!isSilent || addresses.inOrder.length === 1) throw error;
      addresses.failed(place.at);
      suspect(registration, place.at);
      return undefined;
    }
  };

  const leases: LeaseManager<Place> = new LeaseManager<Place>(
    {
      grant,
      renew: (place, registration, signal) =>
        atItsAgent(place, registration, () => backend.renew(registration, place.at, signal)),
      replace: (place, registration, signal) =>
        atItsAgent(place, registration, async () => {
          await backend.register(registration, place.at, signal, timeoutMs);
          return true;
        }),
      revoke: (place, registration, signal) => backend.remove(registration, place.at, signal),
    },
    { ...options, lapses: true },
  );
  return leases;
}
