/**
 * One run: a cluster, its clients and its bad luck, all from one seed. The same seed and options give the same run, to the message.
 *
 * First the cluster forms, then faults come for `runMs` while clients call, then the weather clears up and everything must become
 * whole again within `settleMs`; checkers look at every step, at every change of the table, and at the history in the end.
 */
import { seededRandom, type Random } from '../../src/base/random.ts'
import type { ClusterView } from '../../src/membership/cluster-state.ts'
import type { PartitionId } from '../../src/base/ids.ts'
import { everyMembershipRule, type MembershipRules } from '../../src/membership/rules.ts'
import { everyRule, type ReplicationRules } from '../../src/replication/rules.ts'
import { AcknowledgedWrites } from './checkers/acknowledged.ts'
import { AnswersOfRequests } from './checkers/answers.ts'
import { checkLinearizability } from './checkers/linearizability.ts'
import { checkRightToRead } from './checkers/right-to-read.ts'
import { checkSettled } from './checkers/settled.ts'
import { checkTableChange } from './checkers/table.ts'
import { SimulatedClient } from './cluster/client.ts'
import { everyDriverRule, type DriverRules } from './cluster/driver-rules.ts'
import { SimulatedCluster } from './cluster/simulated-cluster.ts'
import { Actor } from './engine/actor.ts'
import { Counters } from './engine/counters.ts'
import { Network } from './engine/network.ts'
import { Scheduler } from './engine/scheduler.ts'
import { SimulatedCoordinator } from './engine/simulated-coordinator.ts'
import { Trace } from './engine/trace.ts'
import { Besetting } from './faults/besetting.ts'
import { planFaults, type TimedFault } from './faults/fault.ts'
import { History, type Violation } from './history.ts'
import type { SimulationOptions } from './options.ts'

export interface AllRules {
  readonly replication: ReplicationRules
  readonly membership: MembershipRules
  readonly driver: DriverRules
}

export const allRules: AllRules = { replication: everyRule, membership: everyMembershipRule, driver: everyDriverRule }

export interface SimulationResult {
  readonly seed: number
  readonly violations: readonly Violation[]
  readonly operations: number
  readonly steps: number
  readonly acknowledgedWrites: number
  readonly undecidedKeys: number
  readonly counters: Counters
  readonly trace: readonly string[]
}

const violationsMax = 5
/** A right run has below 10. */
const stepsPerMs = 40
const formMs = 3000

/** Bad luck that waits for its moment: faults that follow a change of the table; `atMs` counts from it. */
export type Ambush = (
  before: ClusterView | undefined,
  after: ClusterView,
  causes: readonly string[],
  random: Random,
) => readonly TimedFault[]

export interface RunExtras {
  readonly ambush?: Ambush
  readonly rules?: AllRules
  /** Instead of faults by the seed. */
  readonly faults?: readonly TimedFault[]
}

export function runSimulation(seed: number, options: SimulationOptions, extras: RunExtras = {}): SimulationResult {
  const rules = extras.rules ?? allRules
  const random = seededRandom(Math.imul(seed, 0x9e3779b1))
  const fork = (): Random => seededRandom(Math.floor(random.next() * 2 ** 32))
  const counters = new Counters()
  const trace = new Trace(options.traced)
  const scheduler = new Scheduler()
  const network = new Network(scheduler, fork(), counters, options.luck)
  const coordinator = new SimulatedCoordinator(scheduler, fork(), counters, network)
  const history = new History()
  const runUntilMs = formMs + options.runMs
  const violations: Violation[] = []
  const report = (violation: Violation): void => {
    trace.add(scheduler.nowMs, 'VIOLATION', () => `${violation.invariant}: ${violation.text}`)
    violations.push(violation)
  }

  const cluster = new SimulatedCluster({ scheduler, network, coordinator, random: fork(), counters, trace, options, rules })
  const ambushRandom = seededRandom(seed)
  const acknowledged = new AcknowledgedWrites(cluster, report)
  const answers = new AnswersOfRequests(report)
  cluster.onAcknowledged = (partition, name, shard) => acknowledged.acknowledged(partition, name, shard)
  cluster.onShardSpins = (shard, partition) =>
    report({ invariant: 'storm', atMs: scheduler.nowMs, text: `shard ${shard} asks for turn after turn for partition ${partition}` })
  cluster.onShardStopped = (shard, reason) => report({ invariant: 'I6', atMs: scheduler.nowMs, text: `shard ${shard} stopped: ${reason}` })
  const keys = Array.from({ length: options.keys }, (_, i) => ({ key: `k${i}`, partition: i % options.partitions }))
  coordinator.onChange = (before, after, causes) => {
    trace.add(scheduler.nowMs, 'TABLE', () => `version ${after.version} (${causes.join(', ')}): ${cluster.describe(after)}`)
    for (const cause of causes) counters.add(`table.${cause}`)
    countMovesWithin(before, after, counters)
    checkTableChange(cluster, before, after, causes, report)
    for (const [partition, record] of after.state.partitions.entries()) {
      if ((record.givenUp ?? 0) === (before?.state.partitions[partition]?.givenUp ?? 0)) continue
      acknowledged.gaveUp(partition as PartitionId)
      for (const client of clients) client.handleGivenUp(partition)
      for (const { key } of keys.filter(one => one.partition === partition)) {
        // It takes effect once nobody serves the old data any more: some time from now on.
        const call = history.begin('operator', key, partition, { kind: 'giveUp' }, scheduler.nowMs)
        call.answer = { kind: 'value', value: undefined }
        call.answeredAtMs = scheduler.nowMs
      }
    }
    acknowledged.checkAll()
    if (extras.ambush !== undefined && scheduler.nowMs > formMs && scheduler.nowMs < runUntilMs) {
      besetting.schedule(
        extras.ambush(before, after, causes, ambushRandom).map(({ atMs, fault }) => ({ atMs: scheduler.nowMs + atMs, fault })),
      )
    }
  }

  let clients: readonly SimulatedClient[] = []
  const besetting = new Besetting({
    scheduler,
    network,
    coordinator,
    hosts: cluster,
    counters,
    trace,
    sessionTtlMs: 3000,
    luck: options.luck,
  })
  for (const host of cluster.firstHosts) cluster.start(host)
  clients = Array.from({ length: options.clients }, (_, i) => {
    const name = `client${i}`
    const clientRandom = fork()
    const clock = { rate: 1 + (clientRandom.next() - 0.5) * 0.02, offsetMs: clientRandom.next() * 1e6 }
    const client = new SimulatedClient(
      new Actor(scheduler, clientRandom, name, name, clock),
      network,
      clientRandom,
      history,
      counters,
      trace,
      () => scheduler.nowMs,
      {
        keys,
        callsPerSecond: options.callsPerSecond,
        untilMs: runUntilMs + Math.max(0, options.settleMs - 2000),
        inFlightMax: 3,
        timedPart: options.timedPart,
        readPart: options.readPart,
        anyReadPart: options.anyReadPart,
        deadlineMs: i < options.stubbornClients ? 4 * options.clientSessionTtlMs : 2500,
        attemptMs: 400 + clientRandom.next() * 300,
        controlAddresses: () => cluster.controlAddresses(),
        isSessioned: i % 4 !== 3,
        sessionTtlMs: options.clientSessionTtlMs,
      },
    )
    client.onForgotten = text => report({ invariant: 'I4', atMs: scheduler.nowMs, text })
    client.onAnyRead = (key, value) => {
      if (value !== undefined && history.keyOfValue.get(value) !== key)
        report({
          invariant: 'readAny',
          atMs: scheduler.nowMs,
          text: `any replica answered ${value} for ${key}, which was never written there`,
        })
    }
    client.onTold = (request, answer) => answers.told(scheduler.nowMs, request, answer)
    return client
  })
  scheduler.at(formMs / 2, () => {
    for (const client of clients) client.start()
  })
  besetting.schedule(
    extras.faults ??
      planFaults(fork(), {
        fromMs: formMs,
        untilMs: runUntilMs,
        count: options.faults,
        weights: options.weights,
        hosts: cluster.firstHosts,
        spareHosts: cluster.spareHosts,
        clients: Array.from({ length: options.stubbornClients }, (_, i) => `client${i}`),
      }),
  )
  if (options.outageAtStart) {
    const startRandom = seededRandom(seed)
    const fault = { kind: 'outageAtStart', ms: 500 + startRandom.next() * 3000 } as const
    besetting.schedule([{ atMs: startRandom.next() * 800, fault }])
  }

  if (options.operatorAfterMs !== undefined) watchForLosses(scheduler, cluster, options.operatorAfterMs, runUntilMs)

  let steps = 0
  const stepsMax = (runUntilMs + options.settleMs) * stepsPerMs
  const goesOn = (): boolean => {
    checkRightToRead(cluster, report)
    steps += 1
    if (steps > stepsMax) {
      report({ invariant: 'storm', atMs: scheduler.nowMs, text: `more than ${stepsMax} steps: messages beget messages` })
      return false
    }
    return violations.length < violationsMax
  }
  scheduler.runUntil(runUntilMs, goesOn)
  if (violations.length === 0 && options.settleMs > 0) {
    besetting.end()
    cluster.startAllFirst()
    for (let atMs = runUntilMs + 1000; atMs < runUntilMs + options.settleMs - 4000; atMs += 1000) {
      scheduler.runUntil(atMs, goesOn)
      if (cluster.needsOperator) cluster.recoverLost()
    }
    scheduler.runUntil(runUntilMs + options.settleMs, goesOn)
  }
  // To show that there is no order at all can take long; something else is wrong already then.
  const linear = violations.length > 0 ? { violations: [], undecided: 0 } : checkLinearizability(history.calls)
  for (const violation of linear.violations) report(violation)
  if (violations.length === 0 && options.settleMs > 0)
    checkSettled(cluster, coordinator.view, history, runUntilMs + options.settleMs, report)
  return {
    seed,
    violations,
    steps,
    operations: history.calls.length,
    acknowledgedWrites: acknowledged.count,
    undecidedKeys: linear.undecided,
    counters,
    trace: trace.lines(),
  }
}

/** An operator who looks every second. */
function watchForLosses(scheduler: Scheduler, cluster: SimulatedCluster, patienceMs: number, untilMs: number): void {
  let sinceMs: number | undefined
  const look = (): void => {
    sinceMs = cluster.view !== undefined && cluster.needsOperator ? (sinceMs ?? scheduler.nowMs) : undefined
    if (sinceMs !== undefined && scheduler.nowMs - sinceMs >= patienceMs) cluster.recoverLost()
    if (scheduler.nowMs + 1000 < untilMs) scheduler.after(1000, look)
  }
  scheduler.at(formMs, look)
}

/** Copies that go from one shard of a node to another one. */
function countMovesWithin(before: ClusterView | undefined, after: ClusterView, counters: Counters): void {
  for (const [partition, { primary }] of after.state.partitions.entries()) {
    const old = before?.state.partitions[partition]?.primary
    if (old !== undefined && primary !== undefined && old.node === primary.node && old.shard !== primary.shard)
      counters.add('shard.movedWithin')
  }
}
