export type Eviction = 'none' | 'lru' | 'lfu'

export interface MapLimits {
  /** Bytes of this map's entries in this partition, headers included; 0: no limit of its own. */
  readonly maxBytes: number
  readonly eviction: Eviction
}
