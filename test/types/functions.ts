/** Types of entry functions and of `invoke`: compiled by the type check, never run. */
import { defineFunctions, entryFunction, type FunctionArgs, type FunctionResult } from 'nearstate/functions'
import type { InvokeFunction } from '../../src/keys/function-types.ts'

interface Profile {
  readonly points: number
  readonly tier: 'new' | 'gold'
}
type Equal<A, B> = [A, B] extends [B, A] ? true : false

const functions = defineFunctions({
  addPoints: entryFunction<Profile>()((entry, args: { points: number }) => {
    const profile = entry.get()
    if (profile !== undefined) entry.set({ ...profile, points: profile.points + args.points }, { ttl: '1h' })
    return profile?.points
  }),
  tierOf: entryFunction<Profile>()(entry => entry.get()?.tier ?? null),
  rename: entryFunction<{ name: string }>()((entry, args: string) => {
    entry.set({ name: args })
    return { renamed: true }
  }),
})
type Functions = typeof functions

true satisfies Equal<FunctionArgs<Functions, 'addPoints'>, { points: number }>
true satisfies Equal<FunctionResult<Functions, 'addPoints'>, number | undefined>
true satisfies Equal<FunctionResult<Functions, 'tierOf'>, 'new' | 'gold' | null>

declare const invoke: InvokeFunction<string, { readonly timeout?: string }>

export async function calls(): Promise<void> {
  const points = await invoke<Functions>('17850', 'addPoints', { points: 5 })
  true satisfies Equal<typeof points, number | undefined>
  const tier = await invoke<Functions>('17850', 'tierOf')
  true satisfies Equal<typeof tier, 'new' | 'gold' | null>
  const renamed = await invoke<Functions>('17850', 'rename', 'Ann', { timeout: '1s' })
  true satisfies Equal<typeof renamed, { renamed: boolean }>
  const untyped = await invoke('17850', 'anything', { at: 'all' })
  true satisfies Equal<typeof untyped, unknown>
  const named = await invoke<Functions, 'addPoints'>('17850', 'addPoints', { points: 1 })
  true satisfies Equal<typeof named, number | undefined>

  // @ts-expect-error an argument of another type
  await invoke<Functions>('17850', 'addPoints', { points: '5' })
  // @ts-expect-error arguments are missing
  await invoke<Functions>('17850', 'addPoints')
  // @ts-expect-error no such function
  await invoke<Functions>('17850', 'addPoint', { points: 5 })
  // @ts-expect-error a key of another type
  await invoke<Functions>(17850, 'addPoints', { points: 5 })
}

defineFunctions({
  // @ts-expect-error functions are synchronous
  later: entryFunction<Profile>()(async entry => entry.get()),
  // @ts-expect-error the value is not a Profile
  wrong: entryFunction<Profile>()(entry => entry.set({ points: 1 })),
})
