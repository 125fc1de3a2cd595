/**
 * Anything that user code can throw, read once into plain strings.
 *
 * Owns: reading a thrown value without being hurt by it. Does not: map positions (user-code.ts).
 * A thrown value can be null, frozen, a proxy, an object whose getters throw or loop. So it is read where it was caught, while
 * the call still counts as user code and can be cut off; from there on only the snapshot is handed around.
 */
import { type ErrorCode, NearstateError } from '../../base/errors.ts'

const nameMaxLength = 128
const messageMaxLength = 8 * 1024
const stackMaxLength = 32 * 1024

export class ThrownSnapshot {
  /** `Error`, `TypeError`, ...; undefined when it was not an error. */
  readonly name: string | undefined
  readonly message: string
  /** The engine's stack, unmapped; empty when there was none. */
  readonly stack: string
  /** Of a NearstateError, such as the refusal of a value that is too large. */
  readonly code: ErrorCode | undefined

  constructor(name: string | undefined, message: string, stack: string, code: ErrorCode | undefined) {
    this.name = name
    this.message = message
    this.stack = stack
    this.code = code
  }
}

/** Runs user code (getters, traps, `toString`): call it only where user code may run. Never throws. */
export function snapshotOf(thrown: unknown): ThrownSnapshot {
  if (!isObject(thrown)) return new ThrownSnapshot(undefined, `threw ${describePrimitive(thrown)}`, '', undefined)
  // Also `instanceof` runs user code: a proxy's trap.
  if (attempt(() => thrown instanceof ThrownSnapshot) === true) return thrown as ThrownSnapshot
  const name = readText(thrown, 'name')
  const message = readText(thrown, 'message')
  const stack = readText(thrown, 'stack')
  const code = attempt(() => (thrown instanceof NearstateError ? thrown.code : undefined))
  if (message === undefined && stack === undefined) {
    const what = attempt(() => thrown instanceof Error) === true ? 'an error that cannot be read' : 'an object that is not an error'
    return new ThrownSnapshot(undefined, `threw ${what}${describeObject(thrown)}`, '', code)
  }
  return new ThrownSnapshot(
    cut(name ?? 'Error', nameMaxLength),
    cut(message ?? '', messageMaxLength),
    cut(stack ?? '', stackMaxLength),
    code,
  )
}

const isObject = (value: unknown): value is object => (typeof value === 'object' && value !== null) || typeof value === 'function'

function readText(owner: object, property: string): string | undefined {
  const value: unknown = attempt(() => Reflect.get(owner, property))
  return typeof value === 'string' ? value : undefined
}

function describePrimitive(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(cut(value, messageMaxLength))
  return typeof value === 'bigint' ? `${value}n` : String(value)
}

function describeObject(value: object): string {
  const text = attempt(() => JSON.stringify(value))
  return typeof text === 'string' ? `: ${cut(text, 256)}` : ''
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    // A getter or trap of the thrown value threw: what it would have said is not known.
    return undefined
  }
}

const cut = (text: string, maxLength: number): string => (text.length <= maxLength ? text : `${text.slice(0, maxLength)}…`)
