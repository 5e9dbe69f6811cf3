import { describeBusyProcess } from './busy.ts';

describeBusyProcess('mdns');
