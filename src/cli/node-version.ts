/** The oldest Node that runs Nearstate; `engines` of package.json says the same. */
const oldest = [22, 18] as const

/** One clear sentence when this Node is too old, else undefined. Uses nothing that an old Node lacks. */
export function complaintAboutNode(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > oldest[0] || (major === oldest[0] && minor >= oldest[1])) return undefined
  return `nearstate needs Node ${oldest.join('.')} or newer, and this is Node ${version}: install a newer Node, or in a checkout use "npm run nearstate -- ..." which brings its own.`
}
