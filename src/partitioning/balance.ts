/**
 * Moves items between bins until every bin holds its quota, moving as little as possible.
 *
 * Items without a bin come first; then bins above their quota give to bins below it, directly where the rules allow it, else along the
 * cheapest chain of moves (an augmenting path), in which an item that has no place from before moves for free.
 */

export interface Seating {
  /** Bin of each item, changed in place; -1: none yet. */
  readonly binOf: Int32Array
  readonly quotas: readonly number[]
  /** May the item be in bin `to` instead of `from` (-1: none), given where the others are? */
  admits(item: number, from: number, to: number): boolean
  /** What moving it costs; 0 for an item without a place from before. */
  cost(item: number, from: number): number
  /** Among equal moves the lowest is made. */
  preference(item: number, from: number, to: number): number
}

const chainAttemptsMax = 64

/** `holesOnly`: items that have a bin stay there, also where that leaves bins above their quota. */
export function balance(seating: Seating, holesOnly: boolean): void {
  const { binOf, quotas } = seating
  const counts = countOf(binOf, quotas.length)
  for (let item = 0; item < binOf.length; item += 1) {
    if (binOf[item] === -1) moveDirectly(seating, counts, [item])
  }
  const itemsOf = (bin: number): number[] => [...binOf.keys()].filter(item => binOf[item] === bin)
  if (!holesOnly) {
    for (let bin = 0; bin < quotas.length; bin += 1) {
      const items = itemsOf(bin)
      let moved = true
      while (moved && (counts[bin] as number) > (quotas[bin] as number)) moved = moveDirectly(seating, counts, items)
    }
  }
  // What could not move directly: holes (bin -1), then surplus.
  for (let bin = -1; bin < (holesOnly ? 0 : quotas.length); bin += 1) {
    const isOver = (): boolean => (bin === -1 ? binOf.includes(-1) : (counts[bin] as number) > (quotas[bin] as number))
    let moved = true
    while (moved && isOver()) moved = moveAlongChain(seating, counts, bin, holesOnly)
  }
  for (let item = 0; item < binOf.length; item += 1) {
    if (binOf[item] === -1) placeAnywhere(seating, counts, item)
  }
}

/** Items in each bin; -1 is none. */
export function countOf(binOf: Iterable<number>, bins: number): number[] {
  const counts: number[] = Array.from({ length: bins }, () => 0)
  for (const bin of binOf) if (bin >= 0) counts[bin] = (counts[bin] as number) + 1
  return counts
}

function move(seating: Seating, counts: number[], item: number, to: number): void {
  const from = seating.binOf[item] as number
  if (from >= 0) counts[from] = (counts[from] as number) - 1
  if (to >= 0) counts[to] = (counts[to] as number) + 1
  seating.binOf[item] = to
}

/** Moves the best one of `items`, which are all in one bin, to a bin below its quota; takes it out of the list. */
function moveDirectly(seating: Seating, counts: number[], items: number[]): boolean {
  let best = -1
  let bestTo = -1
  let bestScore = Number.POSITIVE_INFINITY
  for (let at = 0; at < items.length; at += 1) {
    const item = items[at] as number
    const from = seating.binOf[item] as number
    for (let to = 0; to < counts.length; to += 1) {
      if (to === from || (counts[to] as number) >= (seating.quotas[to] as number) || !seating.admits(item, from, to)) continue
      const score = scoreOf(seating, item, from, to)
      if (score >= bestScore) continue
      best = at
      bestTo = to
      bestScore = score
    }
  }
  if (best < 0) return false
  const [item] = items.splice(best, 1)
  move(seating, counts, item as number, bestTo)
  return true
}

/** Cost before preference. */
const scoreOf = (seating: Seating, item: number, from: number, to: number): number =>
  seating.cost(item, from) * 1e9 + seating.preference(item, from, to)

interface Edge {
  readonly item: number
  readonly from: number
  readonly to: number
  readonly score: number
}

function moveAlongChain(seating: Seating, counts: number[], source: number, freeOnly: boolean): boolean {
  const banned = new Set<string>()
  for (let attempt = 0; attempt < chainAttemptsMax; attempt += 1) {
    const chain = cheapestChain(bestEdges(seating, counts.length, banned, freeOnly), counts, seating.quotas, source)
    if (chain === undefined) return false
    const broken = applyChain(seating, counts, chain)
    if (broken === undefined) return true
    banned.add(`${broken.item} ${broken.to}`)
  }
  return false
}

/** The best item for each pair of bins; index: (from + 1) * bins + to. */
function bestEdges(seating: Seating, bins: number, banned: ReadonlySet<string>, freeOnly: boolean): readonly (Edge | undefined)[] {
  const edges: (Edge | undefined)[] = Array.from({ length: (bins + 1) * bins }, () => undefined)
  for (let item = 0; item < seating.binOf.length; item += 1) {
    const from = seating.binOf[item] as number
    if (freeOnly && seating.cost(item, from) > 0) continue
    for (let to = 0; to < bins; to += 1) {
      if (to === from || !seating.admits(item, from, to) || banned.has(`${item} ${to}`)) continue
      const score = scoreOf(seating, item, from, to)
      const known = edges[(from + 1) * bins + to]
      if (known === undefined || score < known.score) edges[(from + 1) * bins + to] = { item, from, to, score }
    }
  }
  return edges
}

/** Bellman-Ford from `source` to the nearest bin below its quota. */
function cheapestChain(
  edges: readonly (Edge | undefined)[],
  counts: readonly number[],
  quotas: readonly number[],
  source: number,
): readonly Edge[] | undefined {
  const bins = counts.length
  const distance = new Float64Array(bins + 1).fill(Number.POSITIVE_INFINITY)
  const into: (Edge | undefined)[] = Array.from({ length: bins + 1 }, () => undefined)
  distance[source + 1] = 0
  for (let round = 0, changed = true; changed && round < bins; round += 1) {
    changed = false
    for (const edge of edges) {
      if (edge === undefined) continue
      // Every hop counts, so that of equal chains the shortest is taken.
      const reach = (distance[edge.from + 1] as number) + Math.max(edge.score, 0) + 1e6
      if (reach >= (distance[edge.to + 1] as number)) continue
      distance[edge.to + 1] = reach
      into[edge.to + 1] = edge
      changed = true
    }
  }
  let target = -1
  for (let bin = 0; bin < bins; bin += 1) {
    const hasRoom = (counts[bin] as number) < (quotas[bin] as number)
    if (
      hasRoom &&
      bin !== source &&
      (distance[bin + 1] as number) < (target < 0 ? Number.POSITIVE_INFINITY : (distance[target + 1] as number))
    )
      target = bin
  }
  if (target < 0) return undefined
  const chain: Edge[] = []
  for (let bin = target; bin !== source; ) {
    const edge = into[bin + 1] as Edge
    chain.push(edge)
    bin = edge.from
  }
  return chain
}

/** Last move first. Moves of one partition's items can be in each other's way: then all are undone and the one in the way is returned. */
function applyChain(seating: Seating, counts: number[], chain: readonly Edge[]): Edge | undefined {
  for (const [done, edge] of chain.entries()) {
    if (seating.admits(edge.item, edge.from, edge.to)) {
      move(seating, counts, edge.item, edge.to)
      continue
    }
    for (const undo of chain.slice(0, done).reverse()) move(seating, counts, undo.item, undo.from)
    return edge
  }
  return undefined
}

/** A hole that no chain could fill within the quotas: the emptiest bin that may have it, if there is one. */
function placeAnywhere(seating: Seating, counts: number[], item: number): void {
  let best = -1
  const fill = (bin: number): number => (counts[bin] as number) / Math.max(1, seating.quotas[bin] as number)
  for (let to = 0; to < counts.length; to += 1) {
    if (seating.admits(item, -1, to) && (best < 0 || fill(to) < fill(best))) best = to
  }
  if (best >= 0) move(seating, counts, item, best)
}
