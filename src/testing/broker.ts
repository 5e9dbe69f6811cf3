import type { BrokerCapabilities } from '../broker/broker.ts';
import type { Case, TestApi } from './api.ts';
import { deadLetterCases } from './internal/broker-dead-letter-cases.ts';
import { iterationCases } from './internal/broker-iteration-cases.ts';
import { lifecycleCases } from './internal/broker-lifecycle-cases.ts';
import { messageCases } from './internal/broker-message-cases.ts';
import type { BrokerHarness } from './internal/broker-fixture.ts';
import { scheduleCases } from './internal/broker-schedule-cases.ts';
import { settlingCases } from './internal/broker-settling-cases.ts';
import { topicCases } from './internal/broker-topic-cases.ts';

/** The promises of a Broker. */
export const brokerCases: readonly Case<BrokerHarness>[] = [
  ...messageCases,
  ...settlingCases,
  ...iterationCases,
  ...lifecycleCases,
  ...topicCases,
  ...scheduleCases,
  ...deadLetterCases,
];

/** True if a case applies to a broker with these capabilities and a harness with these limits. */
export function concerns(
  requires: string | undefined,
  capabilities: BrokerCapabilities,
  harness: Pick<BrokerHarness, 'maxBodyBytes'> = {},
): boolean {
  const { durableOnMemberDeath = true, competing = true } = capabilities;
  const stated: Readonly<Record<string, unknown>> = {
    ...capabilities,
    durableOnMemberDeath,
    competing,
    bodyLimit: harness.maxBodyBytes !== undefined,
    keepsDeadLetters: capabilities.replay || capabilities.deadLetterQueue !== undefined,
  };
  return (requires ?? '')
    .split(' ')
    .filter((one) => one !== '')
    .every((one) => (one.startsWith('!') ? stated[one.slice(1)] !== true : stated[one] === true));
}

/** Registers the {@link brokerCases} that apply to a broker with a test runner. */
export function brokerConformance(api: TestApi, name: string, harness: BrokerHarness): void {
  api.describe(`broker conformance: ${name}`, () => {
    for (const one of brokerCases) {
      if (concerns(one.requires, harness.capabilities, harness)) api.it(one.name, () => one.run(harness));
    }
  });
}
