/** Rules that stand in the driver (here: the simulated shard and node), not in the cores; all true in right runs. */
export const everyDriverRule = {
  /** A value found past its time is removed by an effect, and the read waits for it. */
  expiryIsAnEffect: true,
  /** A shard that starts anew has a fresh incarnation. */
  freshIncarnation: true,
} as const satisfies Record<string, true>

export type DriverRules = { readonly [Name in keyof typeof everyDriverRule]: boolean }
