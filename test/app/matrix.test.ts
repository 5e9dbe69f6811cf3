import { describeMatrix } from './matrix.ts';

await describeMatrix(({ server }) => server === undefined || server === 'redis');
