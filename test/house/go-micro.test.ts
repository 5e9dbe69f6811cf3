import { describe, expect, test } from '@jest/globals';

import { lineAt, type SourceFile, sourceFile, sourcesBelow } from './source.ts';

/** Words that only Go Micro's wire has, each with what a file says in place of it. */
const facts: readonly (readonly [what: RegExp, instead: string])[] = [
  [/\bx-content-type\b(?!-)/g, 'contentTypeKey of go-micro/call-headers.ts'],
  [/\bMicro-[A-Z]\w*/g, 'topicHeader of go-micro/event-envelope.ts'],
  [/\bHeader: /g, 'writeEnvelope of go-micro/event-envelope.ts'],
  [/\berrors\.Error\b/g, 'MicroError of go-micro/go-micro.ts'],
  [/'float(?:32|64)'/g, 'fieldType of go-micro/records.ts'],
  [/\b(?:stream|subscriber): 'true'/g, 'streamMetadata or subscriberMetadata of go-micro/records.ts'],
  [/'grpc', 'go-micro'|'native' \| 'go-micro'/g, 'Dialect or BrokerDialect of go-micro/go-micro.ts'],
  [/'micro'/g, 'mdnsDomain of go-micro/mdns.ts'],
  [/'\/micro-registry'/g, 'zookeeperRoot of go-micro/zookeeper.ts'],
  [/\bmicro\.mu\b/g, 'podKeysOf of go-micro/kubernetes.ts'],
  [/'micro\.(?:registry\.)?nats'/g, 'natsPrefixes of go-micro/nats.ts'],
  [/\bAction: /g, 'encodeQuery of go-micro/nats.ts'],
  [/\b_services\.\$/g, 'enumerationName of go-micro/mdns.ts'],
  [/\b9_999\b/g, 'placeholderPort of go-micro/mdns.ts'],
  [/\bDeregisterCriticalServiceAfter\b/g, 'definitionOf of go-micro/consul.ts'],
  [/application\/octet-stream/g, 'grpcContentType of go-micro/call-headers.ts'],
];

/** Where a file outside the room says by itself what the room knows. Suites spell what goes over the wire. */
function strayFacts(file: SourceFile): string[] {
  if (/^src\/(?:go-micro|testing)\//.test(file.path)) return [];
  return facts.flatMap(([what, instead]) =>
    [...file.code.matchAll(what)].map(
      (match) => `${file.path}:${lineAt(file.code, match.index)}: ${match[0].trim()} is ${instead}`,
    ),
  );
}

describe("Go Micro's dialect", () => {
  test('has its facts in src/go-micro and nowhere else', () => {
    const files = sourcesBelow('src');
    expect(files.filter(({ path }) => path.startsWith('src/go-micro/')).length).toBeGreaterThan(0);
    expect(files.flatMap(strayFacts)).toEqual([]);
  });

  test.each(facts.map(([what, instead]) => [instead, what] as const))('%s is used in the room', (_instead, what) => {
    const used = sourcesBelow('src/go-micro').filter(({ code }) => [...code.matchAll(what)].length > 0);
    expect(used).not.toEqual([]);
  });

  test.each([
    [
      "const key = 'x-content-type';",
      ['src/client/x.ts:1: x-content-type is contentTypeKey of go-micro/call-headers.ts'],
    ],
    [
      "\nconst topic = headers['Micro-Topic'];",
      ['src/client/x.ts:2: Micro-Topic is topicHeader of go-micro/event-envelope.ts'],
    ],
    ["const once = 'x-content-type-options'; // of Micro-Topic", []],
  ])('%j outside of it is seen', (text, expected) => {
    expect(strayFacts(sourceFile('src/client/x.ts', text))).toEqual(expected);
    expect(strayFacts(sourceFile('src/go-micro/x.ts', text))).toEqual([]);
  });
});
