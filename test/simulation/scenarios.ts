/** Bad luck by plan: what no dice throw often enough. The seed says who plays which part, and shifts the moments. */
import { type Random, seededRandom } from '../../src/base/random.ts'
import type { ClusterView } from '../../src/membership/cluster-state.ts'
import { coordinatorHost } from './engine/simulated-coordinator.ts'
import type { Fault, TimedFault } from './faults/fault.ts'

/** Hosts in an order by the seed, and moments shifted by it, every few seconds anew. */
function repeated(
  seed: number,
  hosts: number,
  everyMs: number,
  plan: (who: readonly string[], jitter: () => number) => readonly TimedFault[],
): readonly TimedFault[] {
  const random = seededRandom(seed)
  const faults: TimedFault[] = []
  for (let startMs = 3500; startMs < 12_000; startMs += everyMs) {
    const who = Array.from({ length: hosts }, (_, i) => `h${i + 1}`)
      .map(name => ({ name, rank: random.next() }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ name }) => name)
    for (const { atMs, fault } of plan(who, () => random.next() * 120)) faults.push({ atMs: startMs + atMs, fault })
  }
  return faults.sort((a, b) => a.atMs - b.atMs)
}

const [first, second, third] = [0, 1, 2].map(
  index =>
    (who: readonly string[]): string =>
      who[index] ?? '',
) as [(who: readonly string[]) => string, (who: readonly string[]) => string, (who: readonly string[]) => string]
const isolate = (host: string, ms: number): Fault => ({ kind: 'isolate', host, alsoCoordinator: true, reset: true, ms })
const apart = (a: string, b: string, ms: number): Fault => ({ kind: 'cutBothWays', a, b, reset: false, ms })

/** One backup stops hearing the primary before the other: their promises run out at different times. */
export const staggered = (seed: number): readonly TimedFault[] =>
  repeated(seed, 3, 3500, (who, jitter) => [
    { atMs: 0, fault: apart(first(who), third(who), 2500) },
    { atMs: 250 + jitter(), fault: isolate(first(who), 2000) },
  ])

/** Two primaries are lost one after the other, faster than a promise runs out; the third one never heard the second. */
export const twice = (seed: number): readonly TimedFault[] =>
  repeated(seed, 5, 6000, (who, jitter) => [
    { atMs: 0, fault: apart(second(who), third(who), 3000) },
    { atMs: 700 + jitter(), fault: isolate(first(who), 2500) },
    { atMs: 1000 + jitter() * 2, fault: { kind: 'crash', host: second(who), backAfterMs: 1500 } },
  ])

/** One node after the other is cut off for a while. */
export const cutOff = (seed: number): readonly TimedFault[] =>
  repeated(seed, 3, 5000, (who, jitter) => [{ atMs: jitter(), fault: isolate(first(who), 2500) }])

/** Primary and backup are out of everybody's reach but each other's, until their sessions lapse; then an operator comes. */
export const rashOperator = (seed: number): readonly TimedFault[] =>
  repeated(seed, 3, 9000, (who, jitter) => [
    ...[first(who), second(who)].flatMap((host): TimedFault[] => [
      { atMs: 0, fault: apart(host, third(who), 6000) },
      { atMs: 0, fault: apart(host, coordinatorHost, 6000) },
    ]),
    { atMs: 4500 + jitter(), fault: { kind: 'recover' } },
  ])

/** A node leaves just when it is about to be promoted. */
export const leaver = (seed: number): readonly TimedFault[] =>
  repeated(seed, 4, 5000, (who, jitter) => [
    { atMs: 0, fault: { kind: 'leave', host: second(who) } },
    { atMs: jitter(), fault: isolate(first(who), 2000) },
    { atMs: 3500, fault: { kind: 'join', host: second(who) } },
  ])

const hostOf = (node: string): string => node.slice(0, node.indexOf('#'))

/** The primary is cut off at the very moment at which a replica that it asked for is added. */
export function atAddition(
  before: ClusterView | undefined,
  after: ClusterView,
  causes: readonly string[],
  random: Random,
): readonly TimedFault[] {
  if (!causes.includes('request.add') || random.next() < 0.3) return []
  const changed = after.state.partitions.find((record, partition) => record.epoch !== before?.state.partitions[partition]?.epoch)
  return changed?.primary === undefined ? [] : [{ atMs: 0, fault: isolate(hostOf(changed.primary.node), 2000) }]
}

/** Whoever was promoted, and is alone in its set, dies at once; an operator is quick. */
export function afterPromotion(before: ClusterView | undefined, after: ClusterView, causes: readonly string[]): readonly TimedFault[] {
  const changed = after.state.partitions.find(({ primary, inSync }, partition) => {
    return inSync.length === 1 && primary?.node !== before?.state.partitions[partition]?.primary?.node
  })
  if (changed?.primary === undefined || !causes.includes('suspect')) return []
  const recovered = [2, 8, 20, 40].map((atMs): TimedFault => ({ atMs, fault: { kind: 'recover' } }))
  return [{ atMs: 0, fault: { kind: 'crash', host: hostOf(changed.primary.node), backAfterMs: 3000 } }, ...recovered]
}

/** The primary stands still, cut off, for longer than it takes to replace it; reads wait for it meanwhile. */
export const frozen = (seed: number): readonly TimedFault[] =>
  repeated(seed, 3, 4500, (who, jitter) => [
    { atMs: 0, fault: isolate(first(who), 3000) },
    { atMs: 5, fault: { kind: 'pause', host: first(who), ms: 1300 + jitter() } },
  ])
