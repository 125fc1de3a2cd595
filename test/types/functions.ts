/** Types of entry functions and of `invoke`: compiled by the type check, never run. */
import { defineFunctions, entryFunction, type FunctionArgs, type FunctionResult } from 'nearstate/functions'
import type { InvokeFunction } from '../../src/keys/function-types.ts'

interface Profile {
  readonly points: number
  readonly tier: 'new' | 'gold'
}
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const isTrue = <T extends true>(_?: T): void => undefined

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

isTrue<Equal<FunctionArgs<Functions, 'addPoints'>, { points: number }>>()
isTrue<Equal<FunctionResult<Functions, 'addPoints'>, number | undefined>>()
isTrue<Equal<FunctionResult<Functions, 'tierOf'>, 'new' | 'gold' | null>>()

declare const invoke: InvokeFunction<string, { readonly timeout?: string }>

export async function calls(): Promise<void> {
  const points = await invoke<Functions>('17850', 'addPoints', { points: 5 })
  isTrue<Equal<typeof points, number | undefined>>()
  const tier = await invoke<Functions>('17850', 'tierOf')
  isTrue<Equal<typeof tier, 'new' | 'gold' | null>>()
  const renamed = await invoke<Functions>('17850', 'rename', 'Ann', { timeout: '1s' })
  isTrue<Equal<typeof renamed, { renamed: boolean }>>()
  const untyped = await invoke('17850', 'anything', { at: 'all' })
  isTrue<Equal<typeof untyped, unknown>>()
  const named = await invoke<Functions, 'addPoints'>('17850', 'addPoints', { points: 1 })
  isTrue<Equal<typeof named, number | undefined>>()

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
