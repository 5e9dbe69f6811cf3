import { inject } from 'inversify';
import { Broker, Handler, Registry, Rpc, Selector, Service, Transport } from 'tenon';

/** What a call was served with. */
export interface Whereabouts {
  readonly transport: string;
  readonly registry: string;
  readonly selector: string;
  readonly broker: string;
}

/** Knows what it runs on by the contracts alone. This file is the same under every profile. */
@Handler('whereabouts.Whereabouts')
export class WhereaboutsHandler {
  constructor(
    @inject(Transport) private readonly transport: Transport,
    @inject(Registry) private readonly registry: Registry,
    @inject(Selector) private readonly selector: Selector,
    @inject(Broker) private readonly broker: Broker,
  ) {}

  @Rpc({ idempotent: true })
  async tell(): Promise<Whereabouts> {
    return {
      transport: String(this.transport),
      registry: String(this.registry),
      selector: String(this.selector),
      broker: String(this.broker),
    };
  }
}

@Service({ name: 'whereabouts', handlers: [WhereaboutsHandler] })
export class WhereaboutsService {}
