/** An entry that a lookup or a scan stands on. Reused: valid until the next call of any method of any store of this shard. */
export class EntryView {
  segment: Uint8Array = new Uint8Array(0)
  keyStart = 0
  keyEnd = 0
  valueStart = 0
  valueEnd = 0
  version = 0
  /** 0: none. */
  expiresAtMs = 0
  /** 0: none. */
  maxIdleMs = 0
  /** The last read or write, if the entry has a maximal idle time; else 0. */
  idleSinceMs = 0
}
