import { describe, expect, it } from '@jest/globals';

import { readConfig } from '../../src/app/config.ts';
import { TenonError } from '../../src/errors/errors.ts';

/** The variables that the kubelet sets in every pod of a namespace for one Service of it. */
function serviceLinks(prefix: string, host = '10.96.0.12'): Record<string, string> {
  const url = `tcp://${host.includes(':') ? `[${host}]` : host}:50051`;
  return {
    [`${prefix}_SERVICE_HOST`]: host,
    [`${prefix}_SERVICE_PORT`]: '50051',
    [`${prefix}_SERVICE_PORT_GRPC`]: '50051',
    [`${prefix}_PORT`]: url,
    [`${prefix}_PORT_50051_TCP`]: url,
    [`${prefix}_PORT_50051_TCP_PROTO`]: 'tcp',
    [`${prefix}_PORT_50051_TCP_PORT`]: '50051',
    [`${prefix}_PORT_50051_TCP_ADDR`]: host,
  };
}

function refusal(env: Record<string, string>): string {
  try {
    readConfig(env);
  } catch (error) {
    if (TenonError.is(error) && error.reason === 'config.invalid') return error.message;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

describe('variables that a Kubernetes Service sets in every pod', () => {
  it.each([
    ['named tenon', serviceLinks('TENON')],
    ['named tenon-greeter', serviceLinks('TENON_GREETER')],
    ['with an IPv6 address', serviceLinks('TENON', 'fd00::12')],
    [
      'over UDP',
      { ...serviceLinks('TENON'), TENON_PORT_53_UDP: 'udp://10.96.0.12:53', TENON_PORT_53_UDP_PROTO: 'udp' },
    ],
    ['of two names', { ...serviceLinks('TENON'), ...serviceLinks('TENON_WEB') }],
  ])('do not refuse a start: a Service %s', (_name, env) => {
    expect(readConfig(env)).toEqual(readConfig({}));
  });

  it.each(Object.keys(serviceLinks('TENON')).filter((name) => name !== 'TENON_SERVICE_HOST'))(
    'are refused where no Service stands behind them: %s alone',
    (name) => {
      const value = serviceLinks('TENON')[name] as string;
      expect(refusal({ [name]: value })).toMatch(new RegExp(`${name}: there is no such variable`));
    },
  );

  it.each([
    ['TENON_SERVICE_HOST', 'greeter.example.com'],
    ['TENON_SERVICE_PORT', 'tcp://10.96.0.12:50051'],
    ['TENON_PORT', '50051'],
    ['TENON_PORT', 'redis://10.96.0.12:50051'],
    ['TENON_PORT_50051_TCP_ADDR', 'somewhere'],
    ['TENON_PORT_50051_TCP_PORT', 'grpc'],
    ['TENON_PORT_50051_TCP_PROTO', 'http'],
  ])('are refused with a value that the kubelet does not give: %s=%s', (name, value) => {
    expect(refusal({ ...serviceLinks('TENON'), [name]: value })).toMatch(
      new RegExp(`${name}: there is no such variable`),
    );
  });

  it.each([
    'TENON_REGISTY',
    'TENON_SERVER_PORT',
    'TENON_SERVICE_HOSTS',
    'TENON_PORTS',
    'TENON_PORT_GRPC',
    'TENON_PORT_50051',
    'TENON_PORT_50051_HTTP',
    'tenon_port',
  ])('beside a misspelt variable leave it refused: %s', (name) => {
    expect(refusal({ ...serviceLinks('TENON'), [name]: 'tcp://10.96.0.12:50051' })).toMatch(
      new RegExp(`${name}: there is no such variable`),
    );
  });

  it('say the remedy where a Service takes the name of a variable that is read', () => {
    expect(refusal(serviceLinks('TENON_MDNS'))).toMatch(/TENON_MDNS_PORT is "tcp:.*enableServiceLinks: false/s);
  });
});
