/** The coordinator that a configuration names. */
import { connectCoordinator } from '../coordinator/connect-coordinator.ts'
import { EmbeddedCoordinator } from '../coordinator/embedded.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'

const servedScheme = 'embedded://'

/** `embedded`: in this process, for a cluster of one process. `embedded://host:port`: one that another process serves. */
export function openCoordinator(text: string): Coordinator {
  return text.startsWith(servedScheme) ? connectCoordinator(text.slice(servedScheme.length)) : new EmbeddedCoordinator()
}
