import type { AppOptions } from 'tenon';

import { Audit } from './audit.ts';
import { Gazetteer } from './gazetteer.ts';
import { Places } from './places.ts';

/** What this program consists of. Where it runs and what it runs on is nowhere said: that is the profile's business. */
export const services = [Places, Audit];

/** What the handlers need besides what tenon binds. */
export const options: AppOptions = {
  bind: (container) => container.bind(Gazetteer).toSelf().inSingletonScope(),
};
