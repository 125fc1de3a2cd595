/** Kinds of option: what text may stand for a value, the value it becomes, and the words that say so. */
import { z } from 'zod'
import { parseByteSize } from '../base/byte-size.ts'
import { parseDuration } from '../base/duration.ts'

export interface Option<T> {
  /** What users write in the file; the flag and the environment variable are made from it. */
  readonly key: string
  /** As it would be written. */
  readonly defaultText: string
  readonly doc: string
  /** Stands for the value in `--help`. Empty: a switch. */
  readonly placeholder: string
  /** Completes "... is wanted". */
  readonly wanted: string
  readonly schema: z.ZodType<T>
}

interface About {
  readonly key: string
  readonly default: string
  readonly doc: string
}

interface Range {
  readonly min: number
  readonly max: number
}

const common = ({ key, default: defaultText, doc }: About) => ({ key, defaultText, doc })

export function integer(about: About, { min, max }: Range): Option<number> {
  const text = z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number)
  const schema = z.union([z.number(), text]).pipe(z.int().min(min).max(max))
  return { ...common(about), placeholder: '<number>', wanted: `a whole number from ${min} to ${max}`, schema }
}

export function flag(about: About): Option<boolean> {
  const schema = z.union([z.boolean(), z.enum(['true', 'false']).transform(text => text === 'true')])
  return { ...common(about), placeholder: '', wanted: 'true or false', schema }
}

export function text(about: About & { readonly placeholder: string; readonly wanted: string }, form: RegExp): Option<string> {
  return { ...common(about), placeholder: about.placeholder, wanted: about.wanted, schema: z.string().regex(form) }
}

export function choice<const T extends string>(about: About, values: readonly T[]): Option<T> {
  return { ...common(about), placeholder: `<${values.join('|')}>`, wanted: `one of ${values.join(', ')}`, schema: z.enum(values) }
}

/** Milliseconds. `min` and `max` as users write them. */
export function duration(about: About, { min, max }: { readonly min: string; readonly max: string }): Option<number> {
  const range = { min: parseDuration(min), max: parseDuration(max) }
  const wanted = `a duration from ${min} to ${max}, a number and one of ms, s, m, h, d`
  return { ...common(about), placeholder: '<duration>', wanted, schema: measured(z.string(), parseDuration, range) }
}

/** Bytes. `min` and `max` as users write them. */
export function size(about: About, { min, max }: { readonly min: string; readonly max: string }): Option<number> {
  const range = { min: parseByteSize(min), max: parseByteSize(max) }
  const wanted = `a size from ${min} to ${max}, a number and one of b, kb, mb, gb`
  return { ...common(about), placeholder: '<size>', wanted, schema: measured(z.union([z.string(), z.number()]), parseByteSize, range) }
}

/** Bytes, or a share of `wholeBytes`. */
export function sizeOrShare(
  about: About,
  wholeBytes: number,
  { min, max }: { readonly min: string; readonly max: string },
): Option<number> {
  const plain = size(about, { min, max })
  const share = z
    .string()
    .regex(/^(100|[1-9]\d?)%$/)
    .transform(percent => Math.floor((wholeBytes * Number.parseInt(percent, 10)) / 100))
  return {
    ...plain,
    placeholder: '<size|percent>',
    wanted: `${plain.wanted}, or a share such as 50%`,
    schema: z.union([share, plain.schema]),
  }
}

function measured<T>(raw: z.ZodType<T>, parse: (text: T) => number, { min, max }: Range): z.ZodType<number> {
  return raw
    .transform((value, context) => {
      try {
        return parse(value)
      } catch {
        // The caller says what is wanted.
        context.addIssue('not of that form')
        return z.NEVER
      }
    })
    .pipe(z.number().min(min).max(max))
}
