// @module-tag proof

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const RUN = fileURLToPath(new URL('./run.mjs', import.meta.url))
const BUILT = fileURLToPath(new URL('../../dist/src/index.js', import.meta.url))

/** The rows of every bench, by the cells that name them. */
const ROWS = {
  lease: [
    'hand-written handshake',
    'lease handshake (acquire, release)',
    'lease handshake with budgets on',
    'request actors and their lease',
  ],
  requests: ['1', '16', '64'].flatMap((connections) => toPeerRows(connections)),
  hop: ['of this gateway', 'through another member', 'added'],
  streams: ['1', '5'].flatMap((streams) => toPeerRows(streams)),
  'cold-start': ['prints a line when it is ready', 'prints nothing', 'llama-server'],
  bodies: ['1', '10'].flatMap((megabytes) => [
    `${megabytes} MB text | model name only`,
    `${megabytes} MB text | flattened too`,
    `${megabytes} MB image | model name only`,
  ]),
  inspect: ['no hub', 'a hub, no viewer', 'a hub, its viewer left', 'a hub, one viewer'],
  watched: ['100 a second', 'one after the other', '16 at a time'].flatMap((requests) =>
    ['no page', 'no page, again', 'one page', 'one page, at the machines', 'four pages'].map(
      (viewers) => `${requests} | ${viewers}`,
    ),
  ),
  features: ['no feature', 'every feature'],
  page: [
    'nothing changes, 30 services',
    'nothing changes, 100 services',
    'opened, 30 services, 10,000 events',
    ...['overview', 'requests', 'timeline', 'service'].map((view) => `200 requests/s, ${view}`),
  ],
  hour: ['1 of 4', '2 of 4', '3 of 4', '4 of 4'],
  logs: ['no secret', '5 secrets', '100 secrets'],
  elsewhere: ['a status command', 'a stop, from its order to its receipt, 4 at a time'],
  sleep: ['cold: it is started', 'asleep: it is woken', 'awake'],
  swap: ['leasehold', 'llama-swap'].flatMap((peer) =>
    [
      'ABAB on two exclusive models, four at a time',
      'an unload that takes 1.5 s while another is served',
      'a reload that changes one of two models under load',
      '8 clients for one cold model',
    ].map((story) => `${story} | ${peer}`),
  ),
  cli: ['node -e 0', 'leasehold --version', 'leasehold status, of a running gateway', "import 'leasehold'"],
  memory: ['idle gateway', 'open stream', 'queued request of 2 KB', 'growth: 10 MB answer, slow reader'],
}

describe.skipIf(!existsSync(BUILT))('the benches', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'leasehold-bench-test-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  test.each(Object.entries(ROWS))(
    'the bench "%s" runs and prints every row',
    { timeout: 300_000 },
    async (name, rows) => {
      const json = join(folder, `${name}.json`)
      const { LEASEHOLD_LLAMA_SERVER: _, ...env } = process.env
      const { stdout } = await promisify(execFile)(process.execPath, [RUN, name, '--quick', '--json', json], {
        env,
        timeout: 280_000,
      })
      for (const row of rows) expect(stdout).toContain(`\n| ${row} |`)
      const { [name]: report } = JSON.parse(await readFile(json, 'utf8'))
      expect(report.rows).toHaveLength(rows.length)
      // Nothing fails and nothing is cut, however slow the machine is.
      if (name === 'swap') expect(report.targets).toMatchObject([{ value: 0 }, { value: 0 }])
      for (const { number } of report.targets) expect(stdout).toContain(`\n| ${number} |`)
    },
  )
})

function toPeerRows(count: string): string[] {
  return ['direct', 'bare dispatch', 'nginx', 'llama-swap', 'leasehold'].map((peer) => `${count} | ${peer}`)
}
