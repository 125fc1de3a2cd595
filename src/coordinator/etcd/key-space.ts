/** A cluster's part of the keys in etcd: `/nearstate/<cluster>/`. What is outside does not exist for it. */

export interface KeyRange {
  readonly key: Buffer
  /** Exclusive. */
  readonly range_end: Buffer
}

export class KeySpace {
  readonly #prefix: string

  constructor(cluster: string) {
    this.#prefix = `/nearstate/${cluster}/`
  }

  stored(key: string): Buffer {
    return Buffer.from(this.#prefix + key)
  }

  own(stored: Buffer): string {
    return stored.toString('utf8').slice(this.#prefix.length)
  }

  under(prefix: string): KeyRange {
    const key = this.stored(prefix)
    return { key, range_end: successor(key) }
  }
}

/** The first key behind all that begin with these bytes. UTF-8 has no byte 0xff, so the last byte can grow. */
function successor(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix)
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1
  return end
}
