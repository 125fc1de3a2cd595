#!/usr/bin/env node
/** The `nearstate` command. Checks the Node version before anything is loaded that needs it. */
import { complaintAboutNode } from '../base/node-version.ts'

const complaint = complaintAboutNode(process.versions.node)
if (complaint === undefined) {
  const { keepCompiledCode } = await import('./compile-cache.ts')
  keepCompiledCode()
  const { run } = await import('./program.ts')
  await run(process.argv)
} else {
  process.stderr.write(`${complaint}, or in a checkout use "npm run nearstate -- ..." which brings its own.\n`)
  process.exitCode = 1
}
