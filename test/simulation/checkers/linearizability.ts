/**
 * I3, and I4 and I7 as far as callers can see them: the calls on each key have an order that a single register could have had.
 *
 * The search of Wing and Gong with Lowe's memory: take any call that no unanswered-before-it call must precede, apply it, go on; a
 * (set of taken calls, register) that failed once is not tried again. Keys are independent.
 *
 * - A call without a known outcome may take effect at any later time, or never. A write nobody has seen is left out: any order with
 *   it has one without it, since each answered call tells what was there before.
 * - A timed value may go once, at any time after it was written: a hidden call "expire". Once gone it is gone: a clock that disagrees
 *   with another one shows as a value that comes back.
 */
import { describeCall, type KeyCall, type KeyOperation, type Violation } from '../history.ts'

type HiddenOperation = KeyOperation | { readonly kind: 'expire'; readonly value: string }

interface Step {
  readonly call: KeyCall | undefined
  readonly operation: HiddenOperation
  readonly calledAtMs: number
  /** Infinity: open. */
  readonly answeredAtMs: number
}

type Register = string | undefined

/** Beyond this the search is given up: counted, never taken as a failure. */
const triesMax = 200_000

export interface LinearizabilityResult {
  readonly violations: readonly Violation[]
  readonly keys: number
  readonly undecided: number
}

export function checkLinearizability(calls: readonly KeyCall[]): LinearizabilityResult {
  const byKey = new Map<string, KeyCall[]>()
  for (const call of calls) {
    const known = byKey.get(call.key)
    if (known === undefined) byKey.set(call.key, [call])
    else known.push(call)
  }
  const violations: Violation[] = []
  let undecided = 0
  for (const [key, ofKey] of byKey) {
    const outcome = searchOrder(stepsOf(ofKey))
    if (outcome.kind === 'undecided') undecided += 1
    if (outcome.kind === 'none') {
      const stuck = outcome.stuckAt.map(step => step.call).filter(call => call !== undefined)
      violations.push({
        invariant: 'I3',
        atMs: Math.min(...stuck.map(call => call.answeredAtMs ?? call.calledAtMs)),
        text: `no order of the calls on ${key} explains the answers; after "${outcome.register ?? 'nothing'}" none of these fits:\n${stuck
          .map(call => `    ${describeCall(call)}`)
          .join('\n')}\n  all calls on the key:\n${ofKey.map(call => `    ${describeCall(call)}`).join('\n')}`,
      })
    }
  }
  return { violations, keys: byKey.size, undecided }
}

function stepsOf(calls: readonly KeyCall[]): Step[] {
  const seen = new Set<string>()
  for (const { answer, operation } of calls) {
    if (answer?.kind === 'value' && answer.value !== undefined) seen.add(answer.value)
    if (answer?.kind === 'compared' && answer.was !== undefined) seen.add(answer.was)
    // One that is open may yet turn out to have been done.
    if (operation.kind === 'compare' && operation.expected !== undefined) seen.add(operation.expected)
  }
  const steps: Step[] = []
  for (const call of calls) {
    const { operation, calledAtMs } = call
    const isOpen = call.answer === undefined
    if (call.isVoid || (isOpen && operation.kind === 'get')) continue
    const isUnseen = (operation.kind === 'swap' || operation.kind === 'compare') && !seen.has(operation.value)
    // A timed one leaves a trace unseen: it takes away what was there before it.
    if (isOpen && isUnseen && !(operation.kind === 'swap' && operation.isTimed)) continue
    steps.push({
      call,
      operation,
      calledAtMs,
      answeredAtMs: isOpen ? Number.POSITIVE_INFINITY : (call.answeredAtMs ?? Number.POSITIVE_INFINITY),
    })
    if (operation.kind === 'swap' && operation.isTimed) {
      steps.push({
        call: undefined,
        operation: { kind: 'expire', value: operation.value },
        calledAtMs,
        answeredAtMs: Number.POSITIVE_INFINITY,
      })
    }
  }
  return steps.sort((a, b) => a.calledAtMs - b.calledAtMs)
}

/** The register after the step; false: the answer does not fit. */
function apply(step: Step, register: Register): { readonly register: Register } | false {
  const { operation } = step
  const answer = step.call?.answer
  switch (operation.kind) {
    case 'get':
      return answer?.kind === 'value' && answer.value === register ? { register } : false
    case 'swap':
      return answer === undefined || (answer.kind === 'value' && answer.value === register) ? { register: operation.value } : false
    case 'remove':
      return answer === undefined || (answer.kind === 'value' && answer.value === register) ? { register: undefined } : false
    case 'compare': {
      const isDone = register === operation.expected
      if (answer !== undefined && (answer.kind !== 'compared' || answer.isDone !== isDone || answer.was !== register)) return false
      return { register: isDone ? operation.value : register }
    }
    case 'expire':
      return register === operation.value ? { register: undefined } : false
    case 'giveUp':
      return { register: undefined }
  }
}

type Outcome =
  | { readonly kind: 'found' }
  | { readonly kind: 'undecided' }
  | { readonly kind: 'none'; readonly stuckAt: readonly Step[]; readonly register: Register }

/** Depth first, with an explicit stack; `taken` is one bit per step. */
function searchOrder(steps: readonly Step[]): Outcome {
  const count = steps.length
  const mustTake = steps.filter(step => step.answeredAtMs !== Number.POSITIVE_INFINITY).length
  const taken = new Uint8Array(count)
  const failed = new Set<string>()
  const stack: { readonly index: number; readonly before: Register; readonly firstBefore: number }[] = []
  let register: Register
  let done = 0
  let first = 0
  let next = 0
  let tries = 0
  let deepest = -1
  let stuckAt: readonly Step[] = []
  let stuckRegister: Register
  while (done < mustTake) {
    tries += 1
    if (tries > triesMax) return { kind: 'undecided' }
    const choice = nextChoice(steps, taken, first, next, register)
    if (choice !== undefined) {
      taken[choice.index] = 1
      const state = stateName(taken, first, choice.register)
      if (failed.has(state)) {
        taken[choice.index] = 0
        next = choice.index + 1
        continue
      }
      stack.push({ index: choice.index, before: register, firstBefore: first })
      register = choice.register
      if ((steps[choice.index] as Step).answeredAtMs !== Number.POSITIVE_INFINITY) done += 1
      while (first < count && taken[first] === 1) first += 1
      next = first
      continue
    }
    if (done > deepest) {
      deepest = done
      stuckAt = candidates(steps, taken, first)
      stuckRegister = register
    }
    const last = stack.pop()
    if (last === undefined) return { kind: 'none', stuckAt, register: stuckRegister }
    failed.add(stateName(taken, last.firstBefore, register))
    taken[last.index] = 0
    if ((steps[last.index] as Step).answeredAtMs !== Number.POSITIVE_INFINITY) done -= 1
    register = last.before
    first = last.firstBefore
    next = last.index + 1
  }
  return { kind: 'found' }
}

function nextChoice(
  steps: readonly Step[],
  taken: Uint8Array,
  first: number,
  from: number,
  register: Register,
): { readonly index: number; readonly register: Register } | undefined {
  const deadline = firstAnswer(steps, taken, first)
  for (let index = Math.max(first, from); index < steps.length; index += 1) {
    const step = steps[index] as Step
    if (step.calledAtMs > deadline) return undefined
    if (taken[index] === 1) continue
    const after = apply(step, register)
    if (after !== false) return { index, register: after.register }
  }
  return undefined
}

/** The first answer among steps not taken: nothing that was called after it may come before it. */
function firstAnswer(steps: readonly Step[], taken: Uint8Array, first: number): number {
  let deadline = Number.POSITIVE_INFINITY
  for (let index = first; index < steps.length; index += 1) {
    const step = steps[index] as Step
    if (step.calledAtMs > deadline) break
    if (taken[index] === 0 && step.answeredAtMs < deadline) deadline = step.answeredAtMs
  }
  return deadline
}

function candidates(steps: readonly Step[], taken: Uint8Array, first: number): readonly Step[] {
  const deadline = firstAnswer(steps, taken, first)
  return steps.filter((step, index) => taken[index] === 0 && step.calledAtMs <= deadline)
}

/** Steps below `first` are all taken, or open ones passed over. */
function stateName(taken: Uint8Array, first: number, register: Register): string {
  let last = taken.length
  while (last > 0 && taken[last - 1] === 0) last -= 1
  let bits = ''
  for (let index = first; index < last; index += 1) bits += taken[index]
  return `${first}:${bits}:${register ?? ''}`
}
