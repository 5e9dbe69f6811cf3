import { describeBusyProcess } from './busy.ts';

describeBusyProcess('kubernetes');
