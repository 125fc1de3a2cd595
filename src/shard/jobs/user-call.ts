/** One call of user code as a promise: scheduled like all user code, so that it can be stopped. */
import { NearstateError } from '../../base/errors.ts'
import type { FailureDescription } from '../user-code/user-code.ts'
import type { Slices } from '../user-code/slice-task.ts'

/** What the call returns. A NearstateError thrown within is handed on; anything else becomes FUNCTION_FAILED: `action`, then the user's message. */
export function callUserCode<T>(
  slices: Slices,
  label: string,
  action: string,
  call: () => T,
  describe: (thrown: unknown) => FailureDescription,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let outcome: { readonly value: T } | { readonly refusal: NearstateError } | undefined
    slices.schedule({
      label,
      run() {
        try {
          outcome = { value: call() }
        } catch (thrown) {
          if (!(thrown instanceof NearstateError)) throw thrown
          outcome = { refusal: thrown }
        }
      },
      finish() {
        if (outcome !== undefined && 'value' in outcome) resolve(outcome.value)
        else reject(outcome?.refusal ?? new NearstateError('INTERNAL', `${action}: it ended without an outcome`))
      },
      failed(thrown) {
        const { message, stack } = describe(thrown)
        reject(new NearstateError('FUNCTION_FAILED', `${action}: ${message}`, { functionStack: stack }))
      },
      stopped(message) {
        reject(new NearstateError('FUNCTION_FAILED', `${action}: ${message}`))
      },
    })
  })
}
