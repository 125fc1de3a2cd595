/** The kinds of fault and how a run is beset by them: a list of faults with times, made from the seed before the run starts. */
import { randomInteger, type Random } from '../../../src/base/random.ts'
import type { NetworkLuck } from '../engine/network.ts'

export type Fault =
  | { readonly kind: 'crash'; readonly host: string; readonly backAfterMs: number | undefined }
  /** All processes of so many hosts at once. */
  | { readonly kind: 'crashMany'; readonly hosts: readonly string[]; readonly backAfterMs: number }
  /** The whole process stands still; longer than leases and time-outs, or only a little. */
  | { readonly kind: 'pause'; readonly host: string; readonly ms: number }
  /** Only shards, or only the control thread, stand still. */
  | { readonly kind: 'pauseShard'; readonly host: string; readonly ms: number }
  | { readonly kind: 'pauseControl'; readonly host: string; readonly ms: number }
  /** `reset`: both ends learn at once that the connection is broken; else silence has to tell. */
  | { readonly kind: 'cutOneWay'; readonly from: string; readonly to: string; readonly reset: boolean; readonly ms: number }
  | { readonly kind: 'cutBothWays'; readonly a: string; readonly b: string; readonly reset: boolean; readonly ms: number }
  /** A host is cut off from all others (and, if so, from the coordinator). */
  | { readonly kind: 'isolate'; readonly host: string; readonly alsoCoordinator: boolean; readonly reset: boolean; readonly ms: number }
  | { readonly kind: 'cutCoordinator'; readonly host: string; readonly ms: number }
  | { readonly kind: 'coordinatorOutage'; readonly ms: number }
  | { readonly kind: 'coordinatorLosesAnswers'; readonly count: number }
  | { readonly kind: 'badNetwork'; readonly luck: NetworkLuck; readonly ms: number }
  | { readonly kind: 'join'; readonly host: string }
  | { readonly kind: 'leave'; readonly host: string }
  /** The process dies and is there again before anybody has missed it. */
  | { readonly kind: 'quickRestart'; readonly host: string }
  /** An operator gives the data of lost partitions up. */
  | { readonly kind: 'recover' }
  /** One shard thread of a node ends by itself; the process, which notices a little later, ends with it. */
  | { readonly kind: 'shardDies'; readonly host: string; readonly shard: number; readonly backAfterMs: number }
  /** What a host takes for the time of day is another from now on. */
  | { readonly kind: 'wallClockJumps'; readonly host: string; readonly byMs: number }
  /** A second process under the name of a node that runs; whoever starts it sees to it that the first has ended before it takes the name over. */
  | { readonly kind: 'twin'; readonly host: string; readonly ms: number; readonly firstLosesSession: boolean }
  /** A client hears nobody for longer than its sessions live, and goes on trying. */
  | { readonly kind: 'cutClient'; readonly client: string; readonly ms: number }
  /** The coordinator goes away when a node has just died, before, while or after others take over. */
  | {
      readonly kind: 'outageAtFailOver'
      readonly host: string
      readonly backAfterMs: number
      readonly outageAfterMs: number
      readonly ms: number
    }
  /** The coordinator is not there when the cluster starts. */
  | { readonly kind: 'outageAtStart'; readonly ms: number }

export type FaultKind = Fault['kind']

export const faultKinds: readonly FaultKind[] = [
  'crash',
  'crashMany',
  'pause',
  'pauseShard',
  'pauseControl',
  'cutOneWay',
  'cutBothWays',
  'isolate',
  'cutCoordinator',
  'coordinatorOutage',
  'coordinatorLosesAnswers',
  'badNetwork',
  'join',
  'leave',
  'quickRestart',
  'recover',
  'shardDies',
  'wallClockJumps',
  'twin',
  'cutClient',
  'outageAtFailOver',
  'outageAtStart',
]

export interface TimedFault {
  readonly atMs: number
  readonly fault: Fault
}

export interface FaultOptions {
  readonly fromMs: number
  readonly untilMs: number
  readonly count: number
  /** How often each kind is drawn, against the others; a kind that is not named is not drawn. */
  readonly weights: Readonly<Partial<Record<FaultKind, number>>>
  readonly hosts: readonly string[]
  /** Hosts that do not take part at the start. */
  readonly spareHosts: readonly string[]
  /** Clients that may be cut off. */
  readonly clients: readonly string[]
}

export const allFaults: FaultOptions['weights'] = {
  crash: 5,
  crashMany: 0.6,
  pause: 4,
  pauseShard: 2,
  pauseControl: 2,
  cutOneWay: 3,
  cutBothWays: 3,
  isolate: 3,
  cutCoordinator: 2,
  coordinatorOutage: 1.5,
  coordinatorLosesAnswers: 2,
  badNetwork: 3,
  join: 3,
  leave: 2,
  quickRestart: 2,
  recover: 1,
}

/** Also what is not for every kind of run. */
export const everyFault: FaultOptions['weights'] = {
  ...allFaults,
  shardDies: 2,
  wallClockJumps: 1.5,
  twin: 1.5,
  cutClient: 1.5,
  outageAtFailOver: 1.5,
}

/** No process dies and none leaves: whoever is suspected is suspected wrongly. */
export const suspicionsOnly: FaultOptions['weights'] = {
  pause: 4,
  pauseShard: 2,
  pauseControl: 3,
  cutOneWay: 4,
  cutBothWays: 4,
  isolate: 4,
  cutCoordinator: 2,
  coordinatorLosesAnswers: 2,
  badNetwork: 3,
}

/** Times of faults: alone, or in bursts, where one meets the consequences of another. */
export function planFaults(random: Random, options: FaultOptions): readonly TimedFault[] {
  const planned: TimedFault[] = []
  const spanMs = options.untilMs - options.fromMs
  let burstAtMs = options.fromMs
  for (let i = 0; i < options.count; i += 1) {
    if (i === 0 || random.next() < 0.5) burstAtMs = options.fromMs + random.next() * spanMs
    const atMs = Math.min(options.untilMs, burstAtMs + random.next() * 1500)
    const fault = drawFault(random, options)
    planned.push({ atMs, fault })
    if (fault.kind === 'crashMany')
      planned.push({ atMs: Math.min(options.untilMs, atMs + 4000 + random.next() * 4000), fault: { kind: 'recover' } })
  }
  return planned.sort((a, b) => a.atMs - b.atMs)
}

function drawFault(random: Random, options: FaultOptions): Fault {
  const kinds = faultKinds.filter(kind => (options.weights[kind] ?? 0) > 0)
  let ticket = random.next() * kinds.reduce((sum, kind) => sum + (options.weights[kind] ?? 0), 0)
  const kind = kinds.find(candidate => (ticket -= options.weights[candidate] ?? 0) < 0) ?? 'crash'
  const pick = (list: readonly string[]): string => list[randomInteger(random, list.length)] ?? ''
  const all = [...options.hosts, ...options.spareHosts]
  const host = pick(all)
  const others = all.filter(other => other !== host)
  // Around the limits of the protocol: below a lease, between lease and suspicion, above both, above the session.
  const ms = [100, 450, 560, 650, 900, 1200, 1800, 2500, 4000][randomInteger(random, 9)] as number
  const span = ms * (0.8 + random.next() * 0.4)
  switch (kind) {
    case 'crash':
      return { kind, host, backAfterMs: random.next() < 0.8 ? 300 + random.next() * 4000 : undefined }
    case 'crashMany':
      return { kind, hosts: [host, pick(others)], backAfterMs: 500 + random.next() * 3000 }
    case 'pause':
    case 'pauseShard':
    case 'pauseControl':
      return { kind, host, ms: span }
    case 'cutCoordinator':
      // Now and then until its session lapses, while all others still hear it.
      return { kind, host, ms: random.next() < 0.5 ? span : 3000 + span }
    case 'cutOneWay':
      return { kind, from: host, to: pick(others), reset: random.next() < 0.3, ms: span }
    case 'cutBothWays':
      return { kind, a: host, b: pick(others), reset: random.next() < 0.5, ms: span }
    case 'isolate':
      return { kind, host, alsoCoordinator: random.next() < 0.5, reset: random.next() < 0.6, ms: span }
    case 'coordinatorOutage':
      return { kind, ms: span * 2 }
    case 'coordinatorLosesAnswers':
      return { kind, count: 1 + randomInteger(random, 3) }
    case 'badNetwork':
      return {
        kind,
        luck: {
          loss: random.next() * 0.2,
          duplicate: random.next() * 0.1,
          straggle: random.next() * 0.03,
          meanDelayMs: 1 + random.next() * random.next() * 60,
        },
        ms: span * 2,
      }
    case 'join':
      return { kind, host: pick(options.spareHosts.length > 0 ? options.spareHosts : all) }
    case 'leave':
    case 'quickRestart':
      return { kind, host }
    case 'recover':
      return { kind }
    case 'shardDies':
      return { kind, host, shard: randomInteger(random, 8), backAfterMs: 300 + random.next() * 3000 }
    case 'wallClockJumps':
      return { kind, host, byMs: (random.next() < 0.5 ? -1 : 1) * 3_600_000 }
    case 'twin':
      return { kind, host, ms: 1000 + random.next() * 7000, firstLosesSession: random.next() < 0.4 }
    case 'cutClient':
      return { kind, client: pick(options.clients), ms: 5500 + random.next() * 3000 }
    case 'outageAtFailOver':
      return { kind, host, backAfterMs: 2000 + random.next() * 3000, outageAfterMs: random.next() * 1500, ms: 500 + span }
    case 'outageAtStart':
      return { kind, ms: 500 + span / 2 }
  }
}
