/** A stage whose keys can be read one by one while it works. */
export interface Queried {
  /** The record that a checkpoint taken now would have of the key; undefined: none. Runs user code where state has getters. */
  recordNow(key: Uint8Array, partition: number): Uint8Array | undefined
}

export const isQueried = (operator: object): operator is Queried => 'recordNow' in operator
