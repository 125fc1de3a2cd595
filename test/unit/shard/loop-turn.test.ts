import { expect, test } from 'vitest'
import { LoopTurn } from '../../../src/shard/loop-turn.ts'

function loop(): { readonly turn: LoopTurn; readonly said: string[]; readonly say: (word: string) => () => void; go(): void } {
  const waiting: (() => void)[] = []
  const said: string[] = []
  return {
    turn: new LoopTurn(callback => void waiting.push(callback)),
    said,
    say: word => () => void said.push(word),
    go: () => {
      for (const callback of waiting.splice(0)) callback()
    },
  }
}

test('what came in one turn is done in its order, whoever asked first', () => {
  const { turn, said, say, go } = loop()
  turn.last(say('sent'))
  turn.work(say('operations'))
  turn.first(say('replication'))
  go()
  expect(said).toEqual(['replication', 'operations', 'sent'])
})

test('what work leaves to be sent leaves in the same turn, and further work waits for the next', () => {
  const { turn, said, say, go } = loop()
  turn.work(() => {
    said.push('operations')
    turn.work(say('more'))
    turn.last(say('sent'))
  })
  go()
  expect(said).toEqual(['operations', 'sent'])
  go()
  expect(said).toEqual(['operations', 'sent', 'more'])
})

test('it is busy while what peers said waits, and for one turn after', () => {
  const { turn, say, go } = loop()
  expect(turn.isBusy).toBe(false)
  turn.work(say('operations'))
  turn.last(say('sent'))
  expect(turn.isBusy).toBe(false)
  go()
  expect(turn.isBusy).toBe(false)
  turn.first(say('replication'))
  expect(turn.isBusy).toBe(true)
  go()
  expect(turn.isBusy).toBe(true)
  go()
  expect(turn.isBusy).toBe(false)
})
