/**
 * So many calls in a row that ran out of time or were refused, with nothing from the server in between, and the
 * connection is taken for dead. Node 20 neither reads on nor closes a connection on which the server broke the rules of
 * HTTP/2, so that no later call would be answered on it.
 */
export const maxUnansweredCalls = 3;
