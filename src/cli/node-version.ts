/**
 * The Nodes that run Nearstate; `engines` of package.json says the same. The floor is `worker.cpuUsage`, by which runaway user code
 * is judged: Node 22.19 and 24.6 brought it.
 */
const oldestMinor: Readonly<Record<number, number>> = { 22: 19, 24: 6 }
const oldestMajorOpen = 25

/** One clear sentence when this Node is too old, else undefined. Uses nothing that an old Node lacks. */
export function complaintAboutNode(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const wantedMinor = oldestMinor[major]
  if (major >= oldestMajorOpen || (wantedMinor !== undefined && minor >= wantedMinor)) return undefined
  return `nearstate needs Node 22.19, 24.6 or newer, and this is Node ${version}: install a newer Node, or in a checkout use "npm run nearstate -- ..." which brings its own.`
}
