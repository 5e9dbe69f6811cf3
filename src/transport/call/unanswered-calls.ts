/**
 * The number of calls in a row that may run out of time or be refused, with nothing from the server in between, before
 * the connection counts as dead. After some errors of HTTP/2 Node 20 neither reads on nor closes the connection, so
 * that no later call would be answered on it.
 */
export const maxUnansweredCalls = 3;
