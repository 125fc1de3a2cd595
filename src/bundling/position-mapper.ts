/** Positions in a bundle, mapped back to the user's source. The only importer of @jridgewell/trace-mapping. */
import { originalPositionFor, TraceMap } from '@jridgewell/trace-mapping'

export interface SourcePosition {
  /** Relative to the bundled file's folder, with forward slashes. */
  readonly file: string
  readonly line: number
  /** From 1, as in stacks. */
  readonly column: number
}

export interface PositionMapper {
  /** Lines and columns from 1. Undefined where the bundle's code comes from no source. */
  map(line: number, column: number): SourcePosition | undefined
}

/** Reads the source map when it is first asked. A map that cannot be read maps nothing: a stack without it is better than none. */
export function createPositionMapper(sourceMap: Uint8Array): PositionMapper {
  let trace: TraceMap | undefined
  let broken = false
  return {
    map(line, column) {
      if (trace === undefined && !broken) {
        trace = readTraceMap(sourceMap)
        broken = trace === undefined
      }
      if (trace === undefined) return undefined
      const found = originalPositionFor(trace, { line, column: column - 1 })
      return found.source === null ? undefined : { file: found.source, line: found.line, column: found.column + 1 }
    },
  }
}

function readTraceMap(sourceMap: Uint8Array): TraceMap | undefined {
  try {
    return new TraceMap(new TextDecoder().decode(sourceMap))
  } catch {
    // Not JSON, or not a source map of version 3.
    return undefined
  }
}
