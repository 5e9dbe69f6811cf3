import { describeBusyProcess } from './busy.ts';

describeBusyProcess('redis');
