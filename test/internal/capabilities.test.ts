import { describe, expect, it } from '@jest/globals';

import { capabilitiesIn, declaredCapabilities } from '../../src/internal/capabilities.ts';

interface Some {
  readonly shared?: boolean;
}

class Stating {
  static readonly capabilities: Some = { shared: true };
}

class Own extends Stating {
  readonly capabilities: Some = { shared: false };
}

class Depending {
  static capabilities({ shared = false }: Some): Some {
    return { shared };
  }
}

describe('the capabilities of an object', () => {
  it('are its own, or else those of its class, or of one that it extends', () => {
    expect(declaredCapabilities(new Stating())).toEqual({ shared: true });
    expect(declaredCapabilities(new (class extends Stating {})())).toEqual({ shared: true });
    expect(declaredCapabilities(new Own())).toEqual({ shared: false });
    expect(declaredCapabilities({ capabilities: { shared: true } })).toEqual({ shared: true });
  });

  it('are made from options by a class that has a function', () => {
    expect(capabilitiesIn(Depending, { shared: true })).toEqual({ shared: true });
    expect(declaredCapabilities(new Depending())).toEqual({ shared: false });
  });

  it.each([[undefined], [null], [7], ['text'], [{}], [{ capabilities: 7 }], [{ capabilities: null }]])(
    'are unknown of %p',
    (value) => expect(declaredCapabilities(value)).toBeUndefined(),
  );
});
