import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const source = (file: string): string => fileURLToPath(new URL(`./src/entry/${file}.ts`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^nearstate$/, replacement: source('index') },
      { find: /^nearstate\/(stream|functions|node|testing)$/, replacement: source('$1') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/types/**'],
    setupFiles: ['test/setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    reporters: process.env['CI'] === undefined ? ['default'] : ['default', ['json', { outputFile: '.nearstate/test-report.json' }]],
  },
})
