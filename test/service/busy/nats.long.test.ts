import { describeBusyProcess } from './busy.ts';

describeBusyProcess('nats');
