/**
 * How much each node should hold: shares in proportion to weight, under caps (a node holds at most one replica of a partition, a zone
 * a bounded number), and whole quotas between floor and ceil of the share that sum to the total.
 */

export interface Claimant {
  readonly weight: number
  /** No share above this. */
  readonly cap: number
  /** What it holds now: who already holds the upper whole number keeps it. */
  readonly held: number
}

export interface ZoneClaim {
  readonly cap: number
  readonly members: readonly number[]
}

/** Shares that sum to `total` (or to all caps, if that is less): proportional to weight, what a cap cuts off goes to the others. */
export function sharesOf(total: number, claimants: readonly Claimant[]): number[] {
  const shares = claimants.map(claimant => claimant.cap)
  let open = claimants.map((_, index) => index)
  let left = total
  while (open.length > 0) {
    const weight = open.reduce((sum, index) => sum + (claimants[index] as Claimant).weight, 0)
    const shareOf = (index: number): number => (left * (claimants[index] as Claimant).weight) / weight
    const capped = open.filter(index => shareOf(index) >= (claimants[index] as Claimant).cap)
    if (capped.length === 0) {
      for (const index of open) shares[index] = shareOf(index)
      break
    }
    left -= capped.reduce((sum, index) => sum + (claimants[index] as Claimant).cap, 0)
    open = open.filter(index => !capped.includes(index))
  }
  return shares
}

/** Whole quotas for replicas: every zone within its cap, every claimant within floor and ceil of its share. */
export function zonedQuotas(total: number, claimants: readonly Claimant[], zones: readonly ZoneClaim[]): number[] {
  const quotas: number[] = claimants.map(() => 0)
  let open = [...zones]
  let left = total
  for (;;) {
    const members = open.flatMap(zone => zone.members)
    const shares = sharesOf(
      left,
      members.map(index => claimants[index] as Claimant),
    )
    const shareOf = new Map(members.map((index, at) => [index, shares[at] as number]))
    const wanted = (zone: ZoneClaim): number => zone.members.reduce((sum, index) => sum + (shareOf.get(index) as number), 0)
    // Shares only grow as others are cut, so a zone over its cap stays over it.
    const full = open.filter(zone => wanted(zone) > zone.cap + 1e-9)
    if (full.length === 0) {
      roundShares(left, members, shares, claimants, open, quotas)
      return quotas
    }
    for (const zone of full) {
      const inner = zone.members.map(index => claimants[index] as Claimant)
      roundShares(zone.cap, zone.members, sharesOf(zone.cap, inner), claimants, [zone], quotas)
      left -= zone.cap
    }
    open = open.filter(zone => !full.includes(zone))
  }
}

/** Whole quotas without zones. */
export function quotasOf(total: number, claimants: readonly Claimant[]): number[] {
  return zonedQuotas(total, claimants, [{ cap: Number.POSITIVE_INFINITY, members: claimants.map((_, index) => index) }])
}

function roundShares(
  total: number,
  members: readonly number[],
  shares: readonly number[],
  claimants: readonly Claimant[],
  zones: readonly ZoneClaim[],
  quotas: number[],
): void {
  const zoneOf = new Map(zones.flatMap(zone => zone.members.map(index => [index, zone] as const)))
  const zoneSum = new Map(zones.map(zone => [zone, 0]))
  const add = (index: number, count: number): void => {
    const zone = zoneOf.get(index) as ZoneClaim
    quotas[index] = (quotas[index] as number) + count
    zoneSum.set(zone, (zoneSum.get(zone) as number) + count)
  }
  let left = total
  const candidates = members.map((index, at) => {
    const share = shares[at] as number
    // Sums of fractions are not exact.
    const floor = Math.floor(share + 1e-9)
    add(index, floor)
    left -= floor
    const fraction = Math.max(0, share - floor)
    return { index, fraction, keeps: fraction > 1e-9 && (claimants[index] as Claimant).held > floor }
  })
  candidates.sort((a, b) => Number(b.keeps) - Number(a.keeps) || b.fraction - a.fraction || a.index - b.index)
  for (const { index, fraction } of candidates) {
    const zone = zoneOf.get(index) as ZoneClaim
    if (left < 1 || fraction <= 1e-9 || (zoneSum.get(zone) as number) + 1 > zone.cap) continue
    add(index, 1)
    left -= 1
  }
}
