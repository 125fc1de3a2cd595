/** The release of this software, from package.json: two folders up, both in src/node and in dist/node. */
import { readFileSync } from 'node:fs'

const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { readonly version: string }
export const release: string = manifest.version
