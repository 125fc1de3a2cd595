/**
 * The consistent-hash ring: for each partition, the nodes in the order in which it prefers them. Weighted by shards, keyed by node
 * name, so that a node that comes back under its name prefers what it had. MD5 per lookup: for building tables, never per key.
 */
import HashRing from 'hashring'

export interface RingNode {
  readonly name: string
  readonly weight: number
}

/** ranks[partition][node index]: 0 for the node that the partition likes best. */
export function ringRanks(nodes: readonly RingNode[], partitionCount: number): readonly Int32Array[] {
  const indexOf = new Map(nodes.map((node, index) => [node.name, index]))
  const ring = new HashRing(Object.fromEntries(nodes.map(node => [node.name, { weight: node.weight }])), 'md5', { 'max cache size': 1 })
  return Array.from({ length: partitionCount }, (_, partition) => {
    const ranks = new Int32Array(nodes.length).fill(nodes.length)
    ring.range(`partition-${partition}`, nodes.length).forEach((name, rank) => {
      ranks[indexOf.get(name) as number] = rank
    })
    return ranks
  })
}
