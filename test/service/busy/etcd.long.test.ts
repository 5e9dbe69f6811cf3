import { describeBusyProcess } from './busy.ts';

describeBusyProcess('etcd');
