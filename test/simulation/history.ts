/**
 * What clients asked and were told, in true time, and what the world did meanwhile: the only input of the checkers besides the truth
 * that the simulation itself sees. Values are unique per write, so that an answer names the write that it saw.
 */

/** All answer what was there before, so that a write nobody saw need not be guessed; `compare` writes only if that is `expected`. */
export type KeyOperation =
  | { readonly kind: 'get' }
  | { readonly kind: 'swap'; readonly value: string; readonly isTimed: boolean }
  | { readonly kind: 'remove' }
  | { readonly kind: 'compare'; readonly expected: string | undefined; readonly value: string }
  /** The operator gave the partition's data up: nothing is there. */
  | { readonly kind: 'giveUp' }

export type KeyAnswer =
  | { readonly kind: 'value'; readonly value: string | undefined }
  | { readonly kind: 'compared'; readonly isDone: boolean; readonly was: string | undefined }

export interface KeyCall {
  readonly client: string
  readonly key: string
  readonly partition: number
  readonly operation: KeyOperation
  readonly calledAtMs: number
  /** undefined: it may take effect at any time after the call, or never. */
  answeredAtMs: number | undefined
  answer: KeyAnswer | undefined
  /** Told that nothing was done, or a read without answer: it took no effect. */
  isVoid: boolean
}

export interface Violation {
  /** The invariant, as in protocols.md. */
  readonly invariant: string
  readonly atMs: number
  readonly text: string
}

export class History {
  readonly calls: KeyCall[] = []
  /** Of every value ever to be written, the key. */
  readonly keyOfValue = new Map<string, string>()

  begin(client: string, key: string, partition: number, operation: KeyOperation, atMs: number): KeyCall {
    const call: KeyCall = {
      client,
      key,
      partition,
      operation,
      calledAtMs: atMs,
      answeredAtMs: undefined,
      answer: undefined,
      isVoid: false,
    }
    this.calls.push(call)
    if (operation.kind === 'swap' || operation.kind === 'compare') this.keyOfValue.set(operation.value, key)
    return call
  }
}

export function describeCall(call: KeyCall): string {
  const { operation, answer } = call
  const asked =
    operation.kind === 'swap'
      ? `swap ${operation.value}${operation.isTimed ? ' (timed)' : ''}`
      : operation.kind === 'compare'
        ? `compare ${operation.expected ?? 'nothing'} -> ${operation.value}`
        : operation.kind
  const told =
    answer === undefined ? '?' : answer.kind === 'value' ? (answer.value ?? 'nothing') : `${answer.isDone}, was ${answer.was ?? 'nothing'}`
  const until = call.answeredAtMs === undefined ? 'open' : call.answeredAtMs.toFixed(2)
  return `[${call.calledAtMs.toFixed(2)}, ${until}] ${call.client} ${call.key}: ${asked} => ${told}`
}
