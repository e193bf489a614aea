import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

/**
 * Everything here that may ask for the time of day: it stamps what people read. Whatever waits, measures or compares
 * takes the monotonic clock, so that a host whose clock jumps by a day ends no timeout, idle time or back-off.
 */
const STAMPS = [
  'src/cli/lifecycle.ts',
  'src/cli/log-lines.ts',
  'src/cli/logs.ts',
  'src/cli/requests-command.ts',
  'src/cli/serve.ts',
  'src/cli/why.ts',
  // It compares clocks of machines: no timer depends on it.
  'src/cluster/cluster-check.ts',
  'src/events/event-hub.ts',
  'src/gateway/event-route.ts',
  'src/gateway/ollama/ollama-answer.ts',
  'src/gateway/ollama/ollama-routes.ts',
  'src/inspector/message.ts',
  'src/observe/joint-log.ts',
  'src/observe/recorder.ts',
  'src/process/run.ts',
  'src/request/request-log.ts',
  'src/service/config-in-force.ts',
  // It reads the times that recordings of several machines hold.
  'src/testing/joint-history.ts',
]

test('the time of day is asked for where it is displayed, and nowhere else (fault 109, peer O-d)', () => {
  const asking = ['src', 'machines'].flatMap((folder) =>
    readdirSync(root + folder, { recursive: true, encoding: 'utf8' })
      .map((file) => `${folder}/${file}`)
      .filter((file) => /\.tsx?$/.test(file))
      // The page runs in a browser, and the model server is a program of its own.
      .filter((file) => !/^src\/(inspector\/page|testing\/model-server)\//.test(file))
      .filter((file) => /\bDate\b\s*[.(]/.test(toCode(file))),
  )
  expect(asking.toSorted()).toEqual(STAMPS)
})

test('the clock of everything that waits is the monotonic one (fault 109, peer O-d)', () => {
  expect(toCode('src/clock.ts')).toContain('now: () => performance.now()')
})

function toCode(file: string): string {
  return readFileSync(root + file, 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
}
