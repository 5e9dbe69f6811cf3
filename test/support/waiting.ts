export { eventually } from '../../src/testing/internal/patience.ts';
export { gate, settled, within } from '../../src/testing/waiting.ts';
