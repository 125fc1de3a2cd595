import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { NodeId, ShardId } from '../../../src/base/ids.ts'
import { migrationPlan } from './migration-plan.ts'
import { type Placement, type PlacementMember, placementTarget } from '../../../src/partitioning/placement.ts'

const member = (name: string, shards = 1, zone = ''): PlacementMember => ({
  node: `id-of-${name}` as NodeId,
  name,
  zone,
  shards: Array.from({ length: shards }, (_, i) => `${name}/${i}` as ShardId),
})
const members = (count: number, shards = 1): PlacementMember[] => Array.from({ length: count }, (_, i) => member(`n${i}`, shards))
const nothing = (partitions: number): Placement[] => Array.from({ length: partitions }, () => ({ primary: undefined, backups: [] }))
const replicasOf = ({ primary, backups }: Placement) => (primary === undefined ? [...backups] : [primary, ...backups])

const primariesOn = (table: readonly Placement[], one: PlacementMember): number =>
  table.filter(({ primary }) => primary?.node === one.node).length
const replicasOn = (table: readonly Placement[], one: PlacementMember): number =>
  table.flatMap(replicasOf).filter(({ node }) => node === one.node).length
const isWithin = (count: number, share: number): boolean => count >= Math.floor(share + 1e-9) && count <= Math.ceil(share - 1e-9)

function expectSound(table: readonly Placement[], all: readonly PlacementMember[], backups: number): void {
  const zoneOf = new Map(all.map(one => [one.node, one.zone === '' ? one.name : `zone ${one.zone}`]))
  const zones = new Set(zoneOf.values()).size
  const width = Math.min(backups + 1, all.length)
  for (const placement of table) {
    const replicas = replicasOf(placement)
    expect(placement.primary).toBeDefined()
    expect(replicas.length).toBe(width)
    expect(new Set(replicas.map(({ node }) => node)).size).toBe(width)
    if (zones >= width) expect(new Set(replicas.map(({ node }) => zoneOf.get(node))).size).toBe(width)
    for (const { node, shard } of replicas) expect(all.find(one => one.node === node)?.shards).toContain(shard)
  }
}

/** Data that is copied between nodes which are in both lists. */
const copiedOnto = (before: readonly Placement[], after: readonly Placement[]): string[] =>
  migrationPlan(before, after).flatMap(({ partition, add }) =>
    add.filter(({ node }) => !replicasOf(before[partition] as Placement).some(old => old.node === node)).map(({ node }) => node as string),
  )

const sizes = fc.record({
  count: fc.integer({ min: 1, max: 12 }),
  backups: fc.integer({ min: 0, max: 2 }),
  partitions: fc.constantFrom(12, 60, 240, 271),
  shards: fc.integer({ min: 1, max: 3 }),
})

describe('a first placement', () => {
  it('of 240 partitions on three nodes of two shards gives each node 80 and each shard 40', () => {
    const all = members(3, 2)
    const table = placementTarget(all, nothing(240), { backups: 0 })
    expectSound(table, all, 0)
    expect(all.map(one => primariesOn(table, one))).toEqual([80, 80, 80])
    const shards = all.flatMap(one => one.shards).map(shard => table.filter(({ primary }) => primary?.shard === shard).length)
    expect(shards).toEqual([40, 40, 40, 40, 40, 40])
  })

  it('keeps every node within floor and ceil of its share, for primaries and for replicas, and every shard of its node', () =>
    fc.assert(
      fc.property(sizes, ({ count, backups, partitions, shards }) => {
        const all = members(count, shards)
        const table = placementTarget(all, nothing(partitions), { backups })
        expectSound(table, all, backups)
        expectBalanced(table, all, backups)
      }),
      { numRuns: 25 },
    ))

  it('does not depend on the order of the members', () =>
    fc.assert(
      fc.property(fc.shuffledSubarray(members(7, 2), { minLength: 7 }), shuffled => {
        const table = placementTarget(shuffled, nothing(60), { backups: 1 })
        expect(table).toEqual(placementTarget(members(7, 2), nothing(60), { backups: 1 }))
      }),
      { numRuns: 5 },
    ))

  it('gives nodes primaries in proportion to their shards', () =>
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 12 }), weights => {
        const all = weights.map((shards, i) => member(`n${i}`, shards))
        const table = placementTarget(all, nothing(240), { backups: 0 })
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        expectSound(table, all, 0)
        for (const one of all) expect(isWithin(primariesOn(table, one), (240 * one.shards.length) / total)).toBe(true)
      }),
      { numRuns: 25 },
    ))

  it('has no answer without members but an empty one', () => {
    expect(placementTarget([], nothing(2), { backups: 1 })).toEqual(nothing(2))
  })
})

function expectBalanced(table: readonly Placement[], all: readonly PlacementMember[], backups: number): void {
  const width = Math.min(backups + 1, all.length)
  for (const one of all) {
    const primaries = primariesOn(table, one)
    const replicas = replicasOn(table, one)
    expect(isWithin(primaries, table.length / all.length), `${one.name}: ${primaries} primaries`).toBe(true)
    expect(isWithin(replicas, (table.length * width) / all.length), `${one.name}: ${replicas} replicas`).toBe(true)
    for (const shard of one.shards) {
      const onShard = table.filter(({ primary }) => primary?.shard === shard).length
      const held = table.flatMap(replicasOf).filter(replica => replica.shard === shard).length
      expect(isWithin(onShard, primaries / one.shards.length), `${shard}: ${onShard} of ${primaries} primaries`).toBe(true)
      expect(isWithin(held, replicas / one.shards.length), `${shard}: ${held} of ${replicas} replicas`).toBe(true)
    }
  }
}

describe('a change of members', () => {
  it('on a join moves replicas onto the new node only, and keeps the balance', () =>
    fc.assert(
      fc.property(sizes, ({ count, backups, partitions, shards }) => {
        const before = members(count, shards)
        const today = placementTarget(before, nothing(partitions), { backups })
        const after = [...before, member('a-new-one', shards)]
        const table = placementTarget(after, today, { backups })
        expectSound(table, after, backups)
        expectBalanced(table, after, backups)
        expect(copiedOnto(today, table).filter(node => node !== 'id-of-a-new-one')).toEqual([])
      }),
      { numRuns: 25 },
    ))

  it('on a leave moves only what the leaver held, and keeps the balance', () =>
    fc.assert(
      fc.property(sizes, fc.nat(), ({ count, backups, partitions, shards }, nth) => {
        fc.pre(count > 1)
        const before = members(count, shards)
        const leaver = before[nth % count] as PlacementMember
        const today = placementTarget(before, nothing(partitions), { backups })
        const after = before.filter(one => one !== leaver)
        const table = placementTarget(after, today, { backups })
        expectSound(table, after, backups)
        expectBalanced(table, after, backups)
        const lost = today.flatMap(replicasOf).filter(({ node }) => node === leaver.node).length
        const width = Math.min(backups + 1, after.length)
        const dropped = partitions * (Math.min(backups + 1, before.length) - width)
        const copied = copiedOnto(today, table).length
        expect(copied).toBeGreaterThanOrEqual(lost - dropped)
        // With hardly more partitions than nodes, balance and distinct nodes may together ask for one copy more.
        expect(copied).toBeLessThanOrEqual(lost - dropped + (partitions < 60 ? 1 : 0))
      }),
      { numRuns: 25 },
    ))

  it('leaves the table alone when nothing has changed', () =>
    fc.assert(
      fc.property(sizes, ({ count, backups, partitions, shards }) => {
        const all = members(count, shards)
        const today = placementTarget(all, nothing(partitions), { backups })
        expect(migrationPlan(today, placementTarget(all, today, { backups }))).toEqual([])
      }),
      { numRuns: 20 },
    ))

  it('stays sound and balanced through any series of joins and leaves of any weights', () =>
    fc.assert(
      fc.property(
        fc.array(fc.record({ node: fc.integer({ min: 0, max: 11 }), shards: fc.integer({ min: 1, max: 4 }) }), { maxLength: 14 }),
        fc.integer({ min: 0, max: 1 }),
        (steps, backups) => {
          let all: readonly PlacementMember[] = [member('base', 2)]
          let today = placementTarget(all, nothing(120), { backups })
          for (const { node, shards } of steps) {
            const name = `n${node}`
            const rest = all.filter(one => one.name !== name)
            all = rest.length < all.length ? rest : [...all, member(name, shards)]
            today = placementTarget(all, today, { backups })
            expectSound(today, all, backups)
            const weight = all.reduce((sum, one) => sum + one.shards.length, 0)
            for (const one of all) {
              expect(
                isWithin(primariesOn(today, one), (120 * one.shards.length) / weight),
                `${primariesOn(today, one)} on ${one.name}`,
              ).toBe(true)
            }
          }
        },
      ),
      { numRuns: 25 },
    ))

  it('with as many partitions a node as usual moves about 1/(n+1) of them', () => {
    const today = placementTarget(members(3), nothing(240), { backups: 0 })
    const table = placementTarget(members(4), today, { backups: 0 })
    expect(copiedOnto(today, table).length).toBe(60)
  })

  it('that only fills gives places to what has none and moves nothing else', () => {
    const before = members(3, 2)
    const today = placementTarget(before, nothing(240), { backups: 0 })
    const after = [...before.slice(0, 2), member('n9', 2)]
    const lost = today.map(row => (row.primary?.node === before[2]?.node ? { primary: undefined, backups: [] } : row))
    const table = placementTarget(after, lost, { backups: 0, fillOnly: true })
    for (const [index, row] of lost.entries()) if (row.primary !== undefined) expect(table[index]).toEqual(row)
    expectBalanced(table, after, 0)
  })
})

describe('zones', () => {
  const zoned = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 9 })

  it('separate the replicas of a partition wherever there are enough of them', () =>
    fc.assert(
      fc.property(zoned, fc.integer({ min: 0, max: 2 }), (zones, backups) => {
        const all = zones.map((zone, i) => member(`n${i}`, 1, zone))
        const table = placementTarget(all, nothing(120), { backups })
        expectSound(table, all, backups)
        const again = placementTarget(all, table, { backups })
        expect(migrationPlan(table, again)).toEqual([])
      }),
      { numRuns: 25 },
    ))

  it('share evenly within a zone where the zone limits what its nodes can hold', () => {
    const all = [member('a0', 1, 'a'), member('b0', 1, 'b'), member('b1', 1, 'b'), member('b2', 1, 'b')]
    const table = placementTarget(all, nothing(240), { backups: 1 })
    expectSound(table, all, 1)
    expect(all.map(one => replicasOn(table, one))).toEqual([240, 80, 80, 80])
    expect(all.map(one => primariesOn(table, one))).toEqual([60, 60, 60, 60])
  })

  it('spread as far as they go when there are fewer than replicas', () => {
    const all = [member('a0', 1, 'a'), member('a1', 1, 'a'), member('b0', 1, 'b'), member('b1', 1, 'b')]
    const table = placementTarget(all, nothing(60), { backups: 2 })
    for (const row of table) expect(new Set(replicasOf(row).map(({ node }) => all.find(one => one.node === node)?.zone)).size).toBe(2)
  })

  it('that change pull replicas apart', () => {
    const before = members(4)
    const today = placementTarget(before, nothing(60), { backups: 1 })
    const after = before.map((one, i) => ({ ...one, zone: i < 2 ? 'a' : 'b' }))
    expectSound(placementTarget(after, today, { backups: 1 }), after, 1)
  })

  it('on a join in a zone move replicas onto the new node only', () =>
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.constantFrom('a', 'b', 'c'), (perZone, zone) => {
        const before = ['a', 'b'].flatMap(name => Array.from({ length: perZone }, (_, i) => member(`${name}${i}`, 1, name)))
        const today = placementTarget(before, nothing(120), { backups: 1 })
        const after = [...before, member('new', 1, zone)]
        const table = placementTarget(after, today, { backups: 1 })
        expectSound(table, after, 1)
        expect(copiedOnto(today, table).filter(node => node !== 'id-of-new')).toEqual([])
      }),
      { numRuns: 12 },
    ))
})

describe('a migration plan', () => {
  const replica = (node: string, shard = 0) => ({ node: node as NodeId, shard: `${node}/${shard}` as ShardId })

  it('names what to build, who takes over and what to free', () => {
    const today = [
      { primary: replica('a'), backups: [replica('b')] },
      { primary: replica('a'), backups: [] },
      { primary: undefined, backups: [] },
      { primary: replica('a'), backups: [replica('b')] },
    ]
    const target = [
      { primary: replica('c'), backups: [replica('b')] },
      { primary: replica('a', 1), backups: [] },
      { primary: replica('c'), backups: [] },
      { primary: replica('b'), backups: [replica('a')] },
    ]
    expect(migrationPlan(today, target)).toEqual([
      { partition: 0, add: [replica('c')], handOver: { from: replica('a'), to: replica('c') }, remove: [replica('a')] },
      { partition: 1, add: [replica('a', 1)], handOver: { from: replica('a'), to: replica('a', 1) }, remove: [replica('a')] },
      { partition: 2, add: [replica('c')], handOver: { from: undefined, to: replica('c') }, remove: [] },
      { partition: 3, add: [], handOver: { from: replica('a'), to: replica('b') }, remove: [] },
    ])
  })
})
