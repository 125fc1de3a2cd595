/** How the nodes of a cluster share one machine. */

const httpPortOffset = 80

/** Ports of node number `index`, the control port of the first being `port`; 0: any free ones. */
export const portsOf = (port: number, index: number): { readonly port: number; readonly httpPort: number } =>
  port === 0 ? { port: 0, httpPort: 0 } : { port: port + index, httpPort: port + httpPortOffset + index }

/** Option memoryMax of each of them: half of the memory together. */
export const memoryShareOf = (nodes: number): string => `${Math.max(1, Math.floor(50 / nodes))}%`

/** Option backups of each of them: one copy on another node, where there is one. */
export const backupsOf = (nodes: number): number => Math.min(1, nodes - 1)
