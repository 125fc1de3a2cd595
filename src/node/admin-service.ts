/**
 * The Admin service: what clients and tools ask of any node. What only the leader may do is passed on to it.
 *
 * Owns: nothing; it joins the parts that do. Order of a destroy: definition first, then every shard of every node within reach.
 */
import { messageOf, NearstateError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { ClusterView, Member } from '../membership/cluster-state.ts'
import { bindService, type BoundService, type Implementation } from '../transport/grpc/service.ts'
import { AdminDefinition, type ClusterDescription, type NodeStats } from '../wire/generated/nearstate/v1/admin.ts'
import { describeCluster, mapMessage, nodeStats, settingsOf, type Surroundings } from './describe-cluster.ts'
import type { Functions } from './functions.ts'
import { type JobLogs, readJobLog } from './job-logs.ts'
import type { JobMaster } from './job-master.ts'
import { JobStateReads } from './job-state-reads.ts'
import type { MapRegistry } from './map-registry.ts'
import type { NodeControl } from './node-control.ts'
import type { NodeLinks } from './node-links.ts'
import type { Shards } from './shards.ts'
import type { ViewFeed } from './view-feed.ts'

export interface AdminParts {
  readonly self: NodeId
  readonly name: string
  readonly around: Surroundings
  readonly feed: ViewFeed
  readonly shards: Shards
  readonly maps: MapRegistry
  readonly functions: Functions
  readonly jobs: JobMaster
  readonly jobLogs: JobLogs
  readonly links: NodeLinks
  readonly controlOf: (member: Member) => NodeControl
  /** Gives up what nobody within reach holds: it is placed on nodes within reach, empty; answers how many partitions. */
  readonly recoverPartitions: () => Promise<number>
  readonly askToLeave: (name: string) => Promise<void>
}

const savepointTimeoutMs = 600_000
/** One node's answer to Stats is not waited for longer. */
const statsTimeoutMs = 3000
const loadTimeoutMs = 60_000
/** What the leader does for a forwarded call may take so long. */
const forwardTimeoutMs = 120_000

export function createAdminService(parts: AdminParts): BoundService {
  return bindService(AdminDefinition, adminImplementation(parts))
}

function adminImplementation(parts: AdminParts): Implementation<typeof AdminDefinition> {
  const { feed, maps, functions, jobs, links } = parts
  const describe = (view: ClusterView | undefined): ClusterDescription => describeCluster(view, parts.around)
  /** The leader's admin client; undefined: this node leads. A call is passed on once. */
  const leader = (action: string, forwarded: boolean | undefined): ReturnType<NodeLinks['admin']> | undefined => {
    const member = leaderOf(feed, action)
    if (member.id === parts.self) return undefined
    if (forwarded !== true) return links.admin(member)
    throw new NearstateError('UNAVAILABLE', `Cannot ${action}: the leader is just changing; try again`)
  }
  const forward = { timeoutMs: forwardTimeoutMs }
  const stateReads = new JobStateReads(parts)

  return {
    describe: async () => describe(feed.view),
    watch: (_, { signal }) => watchDescriptions(feed, describe, signal),
    stats: async ({ local }) => ({ nodes: local ? [await localStats(parts)] : await allStats(parts) }),

    async createMap({ definition }) {
      if (definition === undefined) throw new NearstateError('INVALID_ARGUMENT', 'Cannot create a map: the request has no definition')
      return mapMessage(await maps.create(settingsOf(definition)))
    },
    listMaps: async () => ({ maps: (await maps.list()).map(mapMessage) }),
    async destroyMap({ name }) {
      const { id } = await maps.remove(name)
      await onEveryNode(parts, `destroy map "${name}"`, control => control.dropMap({ name, id }))
      return {}
    },

    async deployFunctions(request) {
      const remote = leader('deploy functions', request.forwarded)
      if (remote !== undefined) return remote.deployFunctions({ ...request, forwarded: true }, forward)
      const { file, bundle, sourceMap } = request
      const { hash, names } = await functions.deploy(file, bundle, sourceMap, hash =>
        onEveryNode(parts, `load the functions of ${file}`, control => control.loadFunctions({ file, hash }, { timeoutMs: loadTimeoutMs })),
      )
      return { hash, names: [...names] }
    },

    async submitJob(request) {
      const remote = leader('submit a job', request.forwarded)
      if (remote !== undefined) return remote.submitJob({ ...request, forwarded: true }, forward)
      const { bundle, ...submission } = request
      return document(await jobs.submit({ ...submission, code: bundle }))
    },
    async checkJob(request) {
      const remote = leader('check a job', request.forwarded)
      if (remote !== undefined) return remote.checkJob({ ...request, forwarded: true }, forward)
      const { bundle, ...submission } = request
      return document(await jobs.check({ ...submission, code: bundle }))
    },
    async listJobs(request) {
      const remote = leader('list jobs', request.forwarded)
      return remote === undefined ? { jobs: (await jobs.list()).map(document) } : remote.listJobs({ ...request, forwarded: true }, forward)
    },
    async getJob(request) {
      const remote = leader('look at a job', request.forwarded)
      return remote === undefined ? document(await jobs.get(request.name)) : remote.getJob({ ...request, forwarded: true }, forward)
    },
    async cancelJob(request) {
      const remote = leader('cancel a job', request.forwarded)
      return remote === undefined ? document(await jobs.cancel(request.name)) : remote.cancelJob({ ...request, forwarded: true }, forward)
    },

    async suspendJob(request) {
      const remote = leader('suspend a job', request.forwarded)
      return remote === undefined ? document(await jobs.suspend(request.name)) : remote.suspendJob({ ...request, forwarded: true }, forward)
    },
    async resumeJob(request) {
      const remote = leader('resume a job', request.forwarded)
      return remote === undefined ? document(await jobs.resume(request.name)) : remote.resumeJob({ ...request, forwarded: true }, forward)
    },

    async getJobSkew(request) {
      const remote = leader('look at a job', request.forwarded)
      return remote === undefined ? document(await jobs.skew(request.name)) : remote.getJobSkew({ ...request, forwarded: true }, forward)
    },
    async describeJobState(request) {
      const remote = leader('read state of a job', request.forwarded)
      if (remote !== undefined) return remote.describeJobState({ ...request, forwarded: true }, forward)
      return document(await jobs.describeState(request.job, request.stage))
    },
    readJobState: request => stateReads.read(request),
    replayDeadLetters: request => stateReads.replay(request),
    readJobLog: request => readJobLog(parts, request),
    async makeSavepoint(request) {
      const remote = leader('make a savepoint', request.forwarded)
      if (remote !== undefined) return remote.makeSavepoint({ ...request, forwarded: true }, { timeoutMs: savepointTimeoutMs })
      return { json: JSON.stringify(await jobs.savepoints.make(request.job, request.label)) }
    },
    async listSavepoints(request) {
      const remote = leader('list savepoints', request.forwarded)
      if (remote !== undefined) return remote.listSavepoints({ ...request, forwarded: true }, forward)
      return { savepoints: (await jobs.savepoints.list()).map(savepoint => ({ json: JSON.stringify(savepoint) })) }
    },
    async deleteSavepoint(request) {
      const remote = leader('delete a savepoint', request.forwarded)
      if (remote !== undefined) return remote.deleteSavepoint({ ...request, forwarded: true }, forward)
      await jobs.savepoints.delete(request.job, request.label)
      return {}
    },

    async recoverPartitions(request) {
      if (!request.acceptLoss) {
        throw new NearstateError(
          'INVALID_ARGUMENT',
          'Cannot recover lost partitions: their data is gone for good, and accept_loss must say that this is understood',
        )
      }
      const remote = leader('recover partitions', request.forwarded)
      return remote === undefined
        ? { recovered: await parts.recoverPartitions() }
        : remote.recoverPartitions({ ...request, forwarded: true }, forward)
    },
    async leaveNode({ name }) {
      await parts.askToLeave(name)
      return {}
    },
  }
}

const document = (job: unknown): { json: string } => ({ json: JSON.stringify(job) })

function leaderOf(feed: ViewFeed, action: string): Member {
  const leader = feed.reachableMembers.find(member => member.name === feed.view?.state.leader)
  if (leader === undefined) throw new NearstateError('UNAVAILABLE', `Cannot ${action}: the cluster has no leader yet; try again`)
  return leader
}

async function* watchDescriptions(
  feed: ViewFeed,
  describe: (view: ClusterView | undefined) => ClusterDescription,
  signal: AbortSignal,
): AsyncGenerator<ClusterDescription> {
  let seen = -1
  while (!signal.aborted && !feed.stopped) {
    const view = feed.view
    const version = view?.version ?? 0
    if (version !== seen) {
      seen = version
      yield describe(view)
    } else await feed.next(signal)
  }
}

const localStats = async (parts: AdminParts): Promise<NodeStats> =>
  nodeStats(parts.name, await parts.shards.requestAll({ kind: 'stats' }, statsTimeoutMs), process.memoryUsage.rss())

/** Figures of the nodes that answer; one that does not is left out. */
async function allStats(parts: AdminParts): Promise<NodeStats[]> {
  const answers = await Promise.allSettled(
    parts.feed.reachableMembers.map(async member => {
      if (member.id === parts.self) return [await localStats(parts)]
      return (await parts.links.admin(member).stats({ local: true }, { timeoutMs: statsTimeoutMs })).nodes
    }),
  )
  return answers.flatMap(answer => (answer.status === 'fulfilled' ? answer.value : []))
}

/** Does it on every node within reach. One that goes meanwhile is no failure: its shards are gone, or learn of it when they are back. */
async function onEveryNode(parts: AdminParts, action: string, order: (control: NodeControl) => Promise<unknown>): Promise<void> {
  await Promise.all(
    parts.feed.reachableMembers.map(async member => {
      try {
        await order(parts.controlOf(member))
      } catch (error) {
        if (error instanceof NearstateError && error.code === 'UNAVAILABLE' && (await isGone(parts.feed, member.id))) return
        if (error instanceof NearstateError && error.code !== 'UNAVAILABLE') throw error
        throw new NearstateError(
          'UNAVAILABLE',
          `Cannot ${action} on node ${member.name}, which does it when it can be reached again: ${messageOf(error)}`,
        )
      }
    }),
  )
}

const deathWaitMs = 5000

/** Whether the member is out of reach or replaced, waiting a little for the cluster to notice. */
async function isGone(feed: ViewFeed, id: NodeId): Promise<boolean> {
  const deadline = AbortSignal.timeout(deathWaitMs)
  for (;;) {
    if (!feed.reachableMembers.some(member => member.id === id)) return true
    if (deadline.aborted || feed.stopped) return false
    await feed.next(deadline)
  }
}
