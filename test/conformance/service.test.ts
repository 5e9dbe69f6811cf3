import { describe, it } from '@jest/globals';

import { silentLogger } from '../../src/logger/logger.ts';
import { systemTimers } from '../../src/runtime/system.ts';
import { ManagedService } from '../../src/service/managed-service.ts';
import { serviceConformance } from '../../src/testing/service.ts';

serviceConformance({ describe, it }, 'managed', {
  make: (server, client, options) => new ManagedService(server, client, systemTimers, silentLogger, options),
});
