/**
 * What a bundle may import besides what is bundled into it. Checked twice: by the bundler, which knows the line of the import,
 * and by the shard, which does not trust the bundler.
 *
 * Node's own modules run on the thread that owns the data: those that only compute are allowed, those that do I/O, wait, start
 * threads or reach into the process are not. A job reads and writes the world through sources, sinks and lookups.
 */
import { isBuiltin } from 'node:module'

/** Given by the shard, never bundled: the same instances as its own. */
export const nearstateModules: ReadonlySet<string> = new Set(['nearstate', 'nearstate/stream', 'nearstate/functions'])

/** They compute and do nothing else. */
export const allowedBuiltins: ReadonlySet<string> = new Set([
  'assert',
  'buffer',
  'crypto',
  'events',
  'path',
  'querystring',
  'string_decoder',
  'url',
  'util',
])

export type ImportVerdict = { readonly kind: 'given' | 'builtin' | 'bundled' } | { readonly kind: 'refused'; readonly reason: string }

export function judgeImport(specifier: string): ImportVerdict {
  if (nearstateModules.has(specifier)) return { kind: 'given' }
  if (/^nearstate(\/|$)/.test(specifier)) {
    return { kind: 'refused', reason: `"${specifier}" does not run inside a shard; ${listOf(nearstateModules)} do` }
  }
  if (!isBuiltin(specifier)) return { kind: 'bundled' }
  if (allowedBuiltins.has(specifier.replace(/^node:/, ''))) return { kind: 'builtin' }
  return {
    kind: 'refused',
    reason:
      `"${specifier}" does I/O or reaches into the process, and functions and jobs run on the thread that owns the data; ` +
      `of Node's modules they may import ${listOf(allowedBuiltins)}`,
  }
}

const listOf = (names: ReadonlySet<string>): string => [...names].join(', ')
