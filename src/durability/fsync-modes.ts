/** What the mirror's modes cost, in plain words: for the line at the start, for status and for the guide. */
export const fsyncModes = ['always', 'interval', 'never'] as const
export type FsyncMode = (typeof fsyncModes)[number]

export interface FsyncCost {
  /** `kill -9` of every node that holds a copy, the machines going on. */
  readonly killAll: string
  /** A power cut of one machine, while others hold the data. */
  readonly powerCutOfOne: string
  /** A power cut of every machine that holds a copy. */
  readonly powerCutOfAll: string
}

export function fsyncCost(mode: FsyncMode, intervalMs: number): FsyncCost {
  const powerCutOfOne = 'nothing: the other copies serve on'
  switch (mode) {
    case 'always':
      return { killAll: 'nothing', powerCutOfOne, powerCutOfAll: 'nothing that was acknowledged' }
    case 'interval': {
      const last = `what was written in the last ${intervalMs} ms and a little more`
      return { killAll: last, powerCutOfOne, powerCutOfAll: last }
    }
    case 'never':
      return {
        killAll: 'what was written in the last tenth of a second and a little more',
        powerCutOfOne,
        powerCutOfAll: 'everything: what is on disk after it is not trusted',
      }
  }
}

/** One line for the log. */
export function fsyncSentence(mode: FsyncMode, intervalMs: number): string {
  const { killAll, powerCutOfAll } = fsyncCost(mode, intervalMs)
  return `an orderly stop of all nodes costs nothing; kill -9 of all at once: ${killAll}; a power cut of all at once: ${powerCutOfAll}`
}
