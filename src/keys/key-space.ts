/**
 * Key spaces: a name, which is part of the type, and a codec. A string that is a country is not a customer.
 * The name is the identity: a map's definition records it, and whoever brings another one for that map is refused.
 */
import { invalidArgument } from '../base/errors.ts'
import { isScalarCodec, type KeyCodec, parseKeyCodec, formatKeyCodec, type Scalar, type ScalarCodec } from './key-codec.ts'

export interface KeySpace<Name extends string, K> {
  readonly name: Name
  readonly codec: KeyCodec
  /** Type only: never there at run time. */
  readonly '~key'?: () => K
}

/** A tuple key: placed by its first element, which is itself a key space, so entries live where that space's stages run. */
export interface TupleKeySpace<Name extends string, First extends AnyKey, K extends readonly unknown[]> extends KeySpace<Name, K> {
  readonly first: First
  /** Names of the elements after the first, in order. */
  readonly fields: readonly string[]
}

export type AnyKey = KeySpace<string, unknown>
export type KeyOf<S> = S extends KeySpace<string, infer K> ? K : never
/** The key of a tuple's first element; a scalar where the space's type is not known. */
export type FirstOf<F extends AnyKey> = unknown extends KeyOf<F> ? Scalar : KeyOf<F>

const nameForm = /^[\p{L}\p{N}_][\p{L}\p{N}_.:/@-]{0,127}$/u

/**
 * A key space of strings (not empty, well-formed Unicode), safe integers, or bytes. Encoded keys are 1 to 65,535 bytes long.
 * INVALID_ARGUMENT for a bad name or codec.
 */
export function defineKey<const N extends string>(name: N, codec: 'string'): KeySpace<N, string>
export function defineKey<const N extends string>(name: N, codec: 'int64'): KeySpace<N, number>
export function defineKey<const N extends string>(name: N, codec: 'bytes'): KeySpace<N, Uint8Array>
export function defineKey(name: string, codec: ScalarCodec): AnyKey {
  checkName(name)
  if (!isScalarCodec(codec))
    throw invalidArgument(`Cannot define key space "${name}": codec "${String(codec)}" is not string, int64 or bytes`)
  return Object.freeze({ name, codec })
}

/**
 * A key space of tuples: `first` decides the place, `rest` names the other elements in order. Keys are arrays and sort, as bytes,
 * element by element (strings by code point).
 */
export function defineTupleKey<const N extends string, F extends AnyKey>(
  name: N,
  first: F,
  rest: Readonly<Record<string, ScalarCodec>>,
): TupleKeySpace<N, F, readonly [FirstOf<F>, ...Scalar[]]> {
  checkName(name)
  const fields = Object.keys(rest)
  for (const field of fields) {
    // JavaScript moves such property names to the front, so their order would not be the written one.
    if (/^\d+$/.test(field)) throw invalidArgument(`Cannot define key space "${name}": element name "${field}" is a number; give it a word`)
  }
  if (fields.length === 0) throw invalidArgument(`Cannot define key space "${name}": a tuple needs at least one element after the first`)
  const codec: KeyCodec = ['tuple', first.codec, ...Object.values(rest)]
  // One set of rules for codecs, wherever they come from.
  const checked = parseKeyCodec(formatKeyCodec(codec))
  return Object.freeze({ name, codec: Object.freeze(checked), first, fields: Object.freeze(fields) })
}

function checkName(name: unknown): asserts name is string {
  if (typeof name !== 'string' || !nameForm.test(name)) {
    const shown = typeof name === 'string' ? `"${name.slice(0, 140)}"` : typeof name
    throw invalidArgument(
      `Cannot define key space ${shown}: a name is 1 to 128 letters, digits and _ . : / @ -, and begins with a letter, a digit or _`,
    )
  }
}
