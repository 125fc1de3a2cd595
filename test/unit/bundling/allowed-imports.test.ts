import { expect, it } from 'vitest'
import { judgeImport } from '../../../src/bundling/allowed-imports.ts'

it.each([
  ['nearstate', 'given'],
  ['nearstate/stream', 'given'],
  ['nearstate/functions', 'given'],
  ['nearstate/node', 'refused'],
  ['nearstate/testing', 'refused'],
  ['nearstate-extras', 'bundled'],
  ['zod', 'bundled'],
  ['node:crypto', 'builtin'],
  ['util', 'builtin'],
  ['fs', 'refused'],
  ['node:fs/promises', 'refused'],
  ['node:worker_threads', 'refused'],
  ['node:test', 'refused'],
])('judges %s as %s', (specifier, kind) => {
  expect(judgeImport(specifier).kind).toBe(kind)
})
