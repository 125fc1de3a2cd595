/** The engine's stack of an error in a bundle -> the same stack in the user's source, without Nearstate's own frames. */
import type { PositionMapper } from '../../bundling/position-mapper.ts'
import { bundleFrame } from './module-scope.ts'

const framesMax = 50

/**
 * First line `Name: message`, then one line per frame of the bundle, innermost first. Frames of code that the bundler added map
 * to nothing and are left out. `stack` may be any text.
 */
export function mapStack(headline: string, stack: string, mapper: PositionMapper): string {
  const frames: string[] = []
  for (const line of stack.split('\n')) {
    const frame = mapFrame(line, mapper)
    if (frame !== undefined) frames.push(frame)
    if (frames.length === framesMax) break
  }
  return [headline, ...frames].join('\n')
}

function mapFrame(line: string, mapper: PositionMapper): string | undefined {
  const match = bundleFrame.exec(line)
  if (match === null) return undefined
  const position = mapper.map(Number(match[3]), Number(match[4]))
  if (position === undefined) return undefined
  const place = `${position.file}:${position.line}:${position.column}`
  return match[1] === undefined ? `    at ${place}` : `    at ${match[1]} (${place})`
}
