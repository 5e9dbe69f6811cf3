import { ownerIn, type ServiceDefinition } from '../go-micro/consul.ts';
import { pause } from '../runtime/bounded.ts';
import type { Timers } from '../runtime/runtime.ts';
import type { ConsulCall } from './consul.ts';
import type { CatalogAnswer, ConsulClient } from './consul-client.ts';
import type { HealthEntry, RegisteredService } from './health-entry.ts';

/** Options of {@link AgentServices}. */
export interface AgentServicesOptions {
  readonly client: ConsulClient;
  readonly timers: Timers;
  /** Marks the services, so that those of other processes are told apart. */
  readonly owner: string;
}

/** A service that was registered here. */
interface Registered {
  readonly place: string;
  /** True if another process, or another thread of this one, renews it since. */
  isReleased: boolean;
}

// Ids that are remembered.
const maxRegistered = 4_096;
// An address may stand for several agents.
const maxAgents = 3;
const heldMs = 1_000;
const firstPauseMs = 20;
const maxPauseMs = 500;
const laterMs = 300;

/**
 * Registers and removes services at agents. A service that was registered here is removed only where no other owner has
 * registered it since.
 */
export class AgentServices {
  readonly #options: AgentServicesOptions;
  /** By the id, those of later registrations last. */
  readonly #registered = new Map<string, Registered>();

  constructor(options: AgentServicesOptions) {
    this.#options = options;
  }

  /**
   * Registers a service at one agent, or replaces what the agent has of that id. Resolves when the catalog has it: the
   * agent tells the servers by and by.
   */
  async register(definition: ServiceDefinition, call: ConsulCall): Promise<void> {
    const { client } = this.#options;
    const { ID, Name, Port } = definition;
    const tags = JSON.stringify(definition.Tags);
    this.#note(ID, placeOf(definition.Address, Port));
    await client.register(definition, call);
    // A check that there was keeps its status.
    await client.pass(ID, call);
    const isThere = (one: HealthEntry): boolean =>
      one.id === ID && one.port === Port && !one.hasLapsed && this.#isOwn(one) && JSON.stringify(one.tags) === tags;
    await this.#untilCatalog(Name, call, (entries) => entries.some(isThere));
  }

  /**
   * Says whose the id of a service is at an agent. One of another owner, or of another name, that is critical is
   * nobody's: its owner is gone.
   */
  async holder(name: string, id: string, call: ConsulCall): Promise<'own' | 'other' | 'nobody'> {
    const found = await this.#options.client.agentService(id, call);
    if (!found) return 'nobody';
    if (found.name === name && this.#isOwn(found)) return 'own';
    return found.isCritical ? 'nobody' : 'other';
  }

  /** Removes an own service from an agent, if it has it. The catalog hears of it by and by. */
  async remove(name: string, id: string, call: ConsulCall): Promise<void> {
    if ((await this.holder(name, id, call)) === 'own') await this.#options.client.deregister(id, call);
  }

  /** Lets go of a service, which somebody else keeps registered at the same address from now on. */
  release(id: string): void {
    const registered = this.#registered.get(id);
    if (registered) registered.isReleased = true;
  }

  /** Removes what the catalog has of a service under an id, wherever it is. */
  async clear(name: string, id: string, call: ConsulCall): Promise<void> {
    const { client } = this.#options;
    const registered = this.#registered.get(id);
    const isWanted = (one: RegisteredService): boolean =>
      registered === undefined ||
      this.#isOwn(one) ||
      (registered.isReleased && registered.place === placeOf(one.address, one.port));
    const wantedIn = (entries: readonly HealthEntry[]): number =>
      entries.filter((one) => one.id === id && one.name === name && isWanted(one)).length;
    let answer = await client.health(name, call, { isOwn: true });
    for (let attempt = 0; attempt < maxAgents; attempt += 1) {
      const before = wantedIn(answer.value);
      if (before === 0 && !answer.isHidden) return;
      // That of another owner may be at the same agent since, or at another agent.
      const isSure = before > 0 && answer.value.every((one) => one.id !== id || isWanted(one));
      if (!isSure) {
        const here = await client.agentService(id, call);
        if (here?.name !== name || !isWanted(here)) return;
      }
      // Over a connection of its own, as a proxy may lead the next one to the agent that has it.
      const isKnown = await client.deregister(id, call, { connection: 'close' });
      if (isKnown) answer = await this.#untilCatalog(name, call, (entries) => wantedIn(entries) < before);
      else answer = await client.health(name, call, { isOwn: true, index: answer.index, waitMs: laterMs });
    }
  }

  #isOwn({ meta }: RegisteredService): boolean {
    return ownerIn(meta) === this.#options.owner;
  }

  /** Reads a service until its entries are so, or are hidden. */
  async #untilCatalog(
    name: string,
    call: ConsulCall,
    isSo: (entries: readonly HealthEntry[]) => boolean,
  ): Promise<CatalogAnswer<readonly HealthEntry[]>> {
    const { client, timers } = this.#options;
    let index = 0;
    // Queries need not be held: where a proxy drops the index, or every change of the server ends them.
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, maxPauseMs)) {
      const answer = await client.health(name, call, { isOwn: true, index, waitMs: heldMs });
      if (isSo(answer.value) || answer.isHidden) return answer;
      await pause(timers, pauseMs, call.signal);
      index = answer.index < index ? 0 : answer.index;
    }
  }

  #note(id: string, place: string): void {
    this.#registered.delete(id);
    this.#registered.set(id, { place, isReleased: false });
    const [oldest] = this.#registered.keys();
    if (this.#registered.size > maxRegistered && oldest !== undefined) this.#registered.delete(oldest);
  }
}

function placeOf(address: string, port: number): string {
  return `${address} ${port}`;
}
