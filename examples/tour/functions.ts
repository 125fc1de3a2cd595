import { defineFunctions, entryFunction } from 'nearstate/functions'

export interface Profile {
  readonly customerId: string
  readonly points: number
}

/** Runs on the shard that owns the key, atomically: no read-modify-write race, no second trip. */
export default defineFunctions({
  addPoints: entryFunction<Profile>()((entry, args: { readonly points: number }) => {
    const profile = entry.get()
    if (profile === undefined) return undefined
    const points = profile.points + args.points
    entry.set({ ...profile, points })
    return points
  }),
})
