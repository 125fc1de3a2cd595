import { expect, it } from 'vitest'
import * as functionsEntry from '../../../../src/entry/functions.ts'
import * as clientEntry from '../../../../src/entry/index.ts'
import * as streamEntry from '../../../../src/entry/stream.ts'
import { providedModules } from '../../../../src/shard/user-code/provided-modules.ts'

it('gives a bundle what the entry points export', () => {
  expect(Object.keys(providedModules['nearstate'] ?? {}).toSorted()).toEqual(Object.keys(clientEntry).toSorted())
  expect(providedModules['nearstate/functions']).toEqual({ ...functionsEntry })
  expect(providedModules['nearstate/stream']).toMatchObject({ ...streamEntry })
})

it('refuses a client inside a shard', () => {
  const { connect } = providedModules['nearstate'] as { readonly connect: () => void }
  expect(connect).toThrow(/connect\(\) does not run inside a shard/)
})
