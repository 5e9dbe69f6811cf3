import { describeBusyProcess } from './busy.ts';

describeBusyProcess('consul');
