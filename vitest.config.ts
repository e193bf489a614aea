import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** The files that take longest, the longest first: one of them that began last would keep the rest of the host idle. */
const DEAR = [
  'chaos/chaos',
  'integration/peers',
  'testing/real-script',
  'inspector/page/live',
  'bench/bench',
  'integration/shared-workload',
  'inspector/page/situations',
  'integration/shared-processes',
  'integration/library-failures',
  'cli/serve',
  'process/table',
  'integration/stands-still',
  'gateway/upstream-corpus',
  'cli/demo',
  'cli/infer',
  'cli/reload',
  'integration/shared-room',
  'process/watchdog',
  'cli/config-command',
  'backends/backends',
  'cli/references',
  'integration/library-ports',
  'integration/library-stops',
]

class DearFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification) => {
      const at = DEAR.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`))
      if (at !== -1) return at
      // A worker is shared by files that follow each other.
      return project.name === 'shared' ? DEAR.length + 1 : DEAR.length
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

/** Folders whose files share their workers: to load the same modules for each costs almost as much as its tests. */
const SHARED = [
  'clients',
  'compat',
  'config',
  'events',
  'explanation',
  'gateway',
  'health',
  'integration',
  'json',
  'lease',
  'machines',
  'observe',
  'peers',
  'process',
  'readme',
  'request',
  'service',
  'supervisor',
  'testing',
  'text',
  'transport',
].map((folder) => `test/${folder}/**/*.test.ts`)

/** Those that put something else in the place of a module, or turn the clock of one. */
const MOCKS = [
  'test/gateway/key-comparison.test.ts',
  'test/health/probe-lacks.test.ts',
  'test/process/spawn-lacks.test.ts',
  'test/supervisor/look-ups.test.ts',
  'test/transport/upstream-timeouts.test.ts',
]

/** What a test may carry; `// @module-tag NAME` on top of a file gives it to every test of the file. */
const tags = [
  { name: 'proof', description: 'takes seconds: runs in `npm run proofs` and in CI, not in `npm test`' },
  {
    name: 'waits',
    description: 'mostly waits and shares nothing: runs together with the others of its file',
    concurrent: true,
  },
]

const common = {
  testTimeout: 120_000,
  hookTimeout: 120_000,
  // A busy host may take its time; what is waited for is a fact.
  expect: { poll: { timeout: 30_000 } },
}

export default defineConfig({
  test: {
    globalSetup: ['test/global-check.ts'],
    maxWorkers: 2,
    tags,
    sequence: { sequencer: DearFirst },
    projects: [
      { test: { ...common, name: 'shared', include: SHARED, exclude: MOCKS, isolate: false } },
      { test: { ...common, name: 'alone', include: ['test/**/*.test.ts'], exclude: SHARED } },
      { test: { ...common, name: 'mocks', include: MOCKS } },
    ],
  },
})
