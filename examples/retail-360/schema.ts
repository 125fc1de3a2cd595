import type { Schema } from 'nearstate/stream'

/** Says what is wrong with a value; the row goes to the dead letters with this sentence. */
export class Refusal extends Error {}

/** A Standard Schema of one function, which gives the value or throws a Refusal. Any library's schema does as well; this one has the least to do per row. */
export function schemaOf<Out>(read: (value: unknown) => Out): Schema<Out> {
  return {
    '~standard': {
      version: 1,
      vendor: 'retail-360',
      validate(value) {
        try {
          return { value: read(value) }
        } catch (thrown) {
          if (thrown instanceof Refusal) return { issues: [{ message: thrown.message }] }
          throw thrown
        }
      },
    },
  }
}

export function fieldsOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Refusal(`${what} must be an object`)
  return value as Readonly<Record<string, unknown>>
}

export function wholeNumber(value: unknown, what: string, least = 0): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least)
    throw new Refusal(`${what} must be a whole number of at least ${least}`)
  return value
}
