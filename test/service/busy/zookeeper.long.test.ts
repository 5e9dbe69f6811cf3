import { describeBusyProcess } from './busy.ts';

describeBusyProcess('zookeeper');
