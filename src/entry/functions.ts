/** `nearstate/functions`: what a file of entry processors imports. The shard gives the same things to a bundle (shard/user-code/provided-modules.ts). */
export { NearstateError } from '../base/errors.ts'
export type { Entry, EntryFunction, EntryKey, FunctionArgs, FunctionName, FunctionResult, FunctionSet } from '../grid/functions.ts'
export { defineFunctions, entryFunction } from '../grid/functions.ts'
export { defineKey, defineTupleKey } from '../keys/key-space.ts'
export type { AnyKey, KeyOf, KeySpace, TupleKeySpace } from '../keys/key-space.ts'
