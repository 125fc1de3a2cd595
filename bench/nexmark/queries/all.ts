/** Every query by name. */
import { q0 } from './q0.ts'
import { q1 } from './q1.ts'
import { q2 } from './q2.ts'
import { q11 } from './q11.ts'
import { q17 } from './q17.ts'
import { q18 } from './q18.ts'
import { q19 } from './q19.ts'
import { q20 } from './q20.ts'
import type { Query } from './query.ts'

export const queries = { q0, q1, q2, q11, q17, q18, q19, q20 } satisfies Record<string, Query>
export type QueryName = keyof typeof queries
