import { expect } from 'vitest'

/** Asks again until it is so; patient, since the machine may be busy. */
export const eventually = <T>(read: () => T) => expect.poll(read, { timeout: 15_000, interval: 10 })
