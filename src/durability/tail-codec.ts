/** An entry of the tail as bytes: its epoch and its effects, as replicas send them to each other. */
import type { Effect } from '../storage/effect.ts'
import { ByteWriter } from '../wire/byte-writer.ts'
import { EffectDecoder, EffectEncoder } from '../wire/effect-codec.ts'
import type { EntryName } from './mirror-format.ts'

/** One entry of a partition's log; its effects own their bytes and do not change. */
export interface LoggedEntry extends EntryName {
  readonly effects: readonly Effect[]
}

const writer = new ByteWriter()
const encoder = new EffectEncoder(writer)
const decoder = new EffectDecoder()

export function encodeTailEntry(entry: LoggedEntry): Buffer {
  writer.begin()
  writer.integer(entry.epoch)
  writer.integer(entry.effects.length)
  encoder.begin()
  for (const effect of entry.effects) encoder.write(effect)
  return Buffer.from(writer.view())
}

/** Its effects are views of `bytes`. Throws for what is no entry. */
export function decodeTailEntry(position: number, bytes: Buffer): LoggedEntry {
  decoder.begin(bytes)
  const epoch = decoder.integer()
  const count = decoder.integer()
  const effects: Effect[] = []
  for (let i = 0; i < count; i += 1) effects.push(decoder.read())
  return { epoch, position, effects }
}
