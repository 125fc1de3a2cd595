/**
 * The Nodes that run Nearstate; `engines` of package.json says the same. The floor is `worker.cpuUsage`, by which runaway user code
 * is judged: Node 22.19 and 24.6 brought it. Uses nothing that an old Node lacks.
 */
import { NearstateError } from './errors.ts'

const oldestMinor: Readonly<Record<number, number>> = { 22: 19, 24: 6 }
const oldestMajorOpen = 25

/** One clear sentence when this Node is too old, else undefined. */
export function complaintAboutNode(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const wantedMinor = oldestMinor[major]
  if (major >= oldestMajorOpen || (wantedMinor !== undefined && minor >= wantedMinor)) return undefined
  return `nearstate needs Node 22.19, 24.6 or newer, and this is Node ${version}: install a newer Node`
}

/** UNSUPPORTED_VERSION when this Node is too old. */
export function checkNode(): void {
  const complaint = complaintAboutNode(process.versions.node)
  if (complaint !== undefined) throw new NearstateError('UNSUPPORTED_VERSION', complaint)
}
