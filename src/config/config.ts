import type { z } from 'zod'
import type { OptionName, optionTable } from './option-table.ts'

/** The parsed configuration of a node, with the table's row names. Frozen; relations between options are checked. */
export type Config = { readonly [Name in OptionName]: z.output<(typeof optionTable)[Name]['schema']> }
