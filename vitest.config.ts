import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    globalSetup: ['test/global-check.ts'],
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // A busy host may take its time; what is waited for is a fact.
    expect: { poll: { timeout: 15_000 } },
    maxWorkers: 2,
  },
})
