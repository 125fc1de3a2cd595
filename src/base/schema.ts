/** Standard Schema (synchronous only): what validates arguments, rows and values, whichever library wrote it. */

export interface Schema<Out, In = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => unknown
    readonly types?: { readonly input: In; readonly output: Out } | undefined
  }
}

interface Issue {
  readonly message: string
  readonly path?: readonly unknown[] | undefined
}

export type SchemaOutcome = { readonly kind: 'valid'; readonly value: unknown } | { readonly kind: 'refused'; readonly reason: string }

export function isSchema(value: unknown): value is Schema<unknown> {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return false
  const standard: unknown = Reflect.get(value, '~standard')
  return typeof standard === 'object' && standard !== null && typeof Reflect.get(standard, 'validate') === 'function'
}

/** The schema's output for the value, or its own sentences. */
export function validate(schema: Schema<unknown>, value: unknown): SchemaOutcome {
  const result = schema['~standard'].validate(value) as { value?: unknown; issues?: readonly Issue[] | undefined } | Promise<unknown>
  if (result instanceof Promise) {
    result.catch(() => undefined) // its outcome comes too late for anybody
    return { kind: 'refused', reason: 'the schema is asynchronous; a synchronous one is wanted' }
  }
  if (result.issues === undefined) return { kind: 'valid', value: result.value }
  return { kind: 'refused', reason: result.issues.slice(0, 5).map(issueText).join('; ') }
}

function issueText(issue: Issue): string {
  const path = (issue.path ?? [])
    .map(part => String(typeof part === 'object' && part !== null && 'key' in part ? part.key : part))
    .join('.')
  return path === '' ? issue.message : `${path}: ${issue.message}`
}
