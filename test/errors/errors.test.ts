import { describe, expect, it } from '@jest/globals';

import { TenonError } from '../../src/errors/errors.ts';

describe('the text of what was thrown', () => {
  it('is that of its parts where several addresses of one name refused, and Node gave the whole no text', () => {
    const refused = ['::1', '127.0.0.1'].map((host) => new Error(`connect ECONNREFUSED ${host}:1`));
    const { message } = TenonError.from(new AggregateError(refused));
    expect(message).toBe('connect ECONNREFUSED ::1:1, connect ECONNREFUSED 127.0.0.1:1');
  });
});
