/**
 * I4, the part that one caller's history does not show: all answers to a request id are the same, late ones and those of retries
 * too. (That it takes effect at most once shows in the order of calls, since no value is written twice.)
 */
import type { CallAnswer } from '../cluster/client-messages.ts'
import type { Report } from './checker.ts'

export class AnswersOfRequests {
  readonly #report: Report
  readonly #first = new Map<string, string>()
  repeated = 0

  constructor(report: Report) {
    this.#report = report
  }

  told(atMs: number, request: string, answer: CallAnswer): void {
    const text = JSON.stringify(answer)
    const known = this.#first.get(request)
    if (known === undefined) this.#first.set(request, text)
    else if (known === text) this.repeated += 1
    else this.#report({ invariant: 'I4', atMs, text: `request ${request} was answered ${known} and ${text}` })
  }
}
