/** The rules of section 2 by name, for the simulator (see replication/rules.ts). All true in production. */
export const everyMembershipRule = {
  requestsBoundToEpoch: true,
  casNamesIncarnation: true,
  promotionRemovesOldPrimary: true,
  lastReplicaStays: true,
  onlyDeadGivenUp: true,
} as const satisfies Record<string, true>

export type MembershipRules = { readonly [Name in keyof typeof everyMembershipRule]: boolean }
