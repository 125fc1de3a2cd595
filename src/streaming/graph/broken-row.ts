import { type Schema, validate } from '../../base/schema.ts'

/** A record that its own schema, codec or event time refuses: a defect of the data, not of the job's code. */
export class BrokenRow extends Error {
  override readonly name = 'BrokenRow'
}

/** The schema's output for the value; throws BrokenRow with the schema's own sentences. */
export function checkValue(schema: Schema<unknown>, value: unknown): unknown {
  const outcome = validate(schema, value)
  if (outcome.kind === 'refused') throw new BrokenRow(outcome.reason)
  return outcome.value
}
