// @module-tag waits

import { rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { Failure } from '../../machines/messages.ts'
import { afterBackoff, createLibraryOf, demoServer } from './library.ts'

const leasehold = { breakerFailures: 3, breakerCooldownMs: 60_000, backoffMs: 1, backoffMaxMs: 1 }

/** A server that prints lines and ends. */
const open = (lines: readonly string[], exitCode = 1) => {
  const script = `${lines.map((line) => `echo ${JSON.stringify(line)} >&2;`).join(' ')} exit ${exitCode}`
  return createLibraryOf('/bin/sh', () => ['-c', script], { leasehold })
}

const acquire = (library: Awaited<ReturnType<typeof open>>) =>
  library.supervisor.acquire('demo').then(
    () => undefined,
    (error: { code: string; message: string; failure: Failure }) => error,
  )

test.each([
  [
    'a missing file',
    "E gguf_init: failed to open GGUF file 'x' (No such file or directory)",
    /absolute paths/,
  ],
  ['a wrong argument', 'error: invalid argument: --foo', /correct localService.args/],
  ['a damaged model', 'gguf_init_from_reader: failed to read magic', /download it again/],
  [
    'a missing library',
    'server: error while loading shared libraries: libcuda.so.1: cannot open shared object file: No such file or directory',
    /LD_LIBRARY_PATH/,
  ],
])(
  'a start that fails for %s quotes the line that says so, with advice, and the next request meets that failure',
  async (_, line, advice) => {
    await using library = await open(['loading', line, 'E exiting due to model loading error', 'bye'])
    const first = await acquire(library)
    const second = await acquire(library)

    expect(first).toMatchObject({ code: 'LEASEHOLD_EXITED_BEFORE_READY' })
    expect(first?.message.split('\n')[0]).toContain(line.replace(/^E /, ''))
    expect(first?.message.split('\n')[0]).toMatch(advice)
    expect(second).toMatchObject({
      code: 'LEASEHOLD_CIRCUIT_OPEN',
      failure: { cause: { code: 'LEASEHOLD_EXITED_BEFORE_READY' } },
    })
    expect(second?.message).toContain(line.replace(/^E /, ''))
    expect(library.all('process.spawned')).toHaveLength(1)
    const [service] = library.supervisor.snapshot().services
    expect(service?.explanation.sentence).toContain(line.replace(/^E /, ''))
    expect(service?.explanation.sentence).not.toContain('bye')
    expect(service?.explanation.advice[0]?.text).toMatch(advice)
  },
)

test('a start that fails for want of GPU memory quotes that line, and the next request tries again', async () => {
  const line = 'allocating 9000.00 MiB on device 0: cudaMalloc failed: out of memory'
  await using library = await open([line, 'E error loading model: unable to allocate CUDA0 buffer', 'bye'])
  const first = await acquire(library)
  expect(first?.message.split('\n')[0]).toContain(line)
  expect(first?.message).toContain('too little free memory')
  await afterBackoff(library)
  expect(await acquire(library)).toMatchObject({ code: 'LEASEHOLD_EXITED_BEFORE_READY' })
  expect(library.all('process.spawned')).toHaveLength(2)
})

test('a launcher that puts its server into the background is told to keep it in the foreground', async () => {
  await using library = await createLibraryOf('/bin/sh', () => ['-c', 'sleep 600 & exit 0'], { leasehold })
  const error = await acquire(library)
  expect(error).toMatchObject({ code: 'LEASEHOLD_EXITED_BEFORE_READY' })
  expect(error?.message).toContain('exited with code 0 before it was ready: have command run the server in')
})

test('a start that fails because its port is taken names the process that has it', async () => {
  const rival = createServer((socket) => socket.destroy())
  let port = 0
  await using library = await createLibraryOf(
    process.execPath,
    (own) => {
      port = own
      // It waits until the rival listens, and then tries to.
      const listen = `() => net.createServer().listen(${own}, '127.0.0.1')`
      const retry = '() => setTimeout(wait, 20)'
      const wait = `() => net.connect(${own}, '127.0.0.1').on('connect', ${listen}).on('error', ${retry})`
      return ['-e', `const net = require('net'); const wait = ${wait}; wait()`]
    },
    { leasehold: { ...leasehold, backoffMs: 100, backoffMaxMs: 100 } },
  )
  const asked = acquire(library)
  await library.until('process.spawned')
  await new Promise<void>((resolve) => rival.listen(port, '127.0.0.1', resolve))
  const exited = await library.until('process.exited')
  rival.close()
  await library.supervisor.stop('demo', { force: true })
  await asked
  expect(exited).toMatchObject({
    telling: { cause: 'port' },
    portHolder: { port, strangers: [{ pid: process.pid }] },
  })
})

test.runIf(process.platform === 'linux')(
  'a launcher that ends after its server is ready has left the foreground: requests meet that failure, with the pid that listened',
  async ({ expect, onTestFinished }) => {
    const ends = join(tmpdir(), `leasehold-launcher-${process.pid}`)
    onTestFinished(() => rmSync(ends, { force: true }))
    const launcher = fileURLToPath(new URL('../fixtures/launches.mjs', import.meta.url))
    const toArgs = (port: number) => [
      launcher,
      ends,
      process.execPath,
      demoServer,
      '--control',
      '--port',
      String(port),
    ]
    await using library = await createLibraryOf(process.execPath, toArgs, { leasehold })
    const lease = await library.supervisor.acquire('demo')
    lease.release()
    const { pid } = await (await fetch(`http://127.0.0.1:${library.port}/__control`)).json()
    writeFileSync(ends, '')

    const listened = `process ${pid} (${process.execPath})`
    expect(await library.until('process.exited')).toMatchObject({ daemon: { ours: [{ pid }] } })
    expect(await library.until('process.settled')).toMatchObject({ receipt: { survivors: [] } })
    const refused = await acquire(library)
    expect(refused).toMatchObject({
      code: 'LEASEHOLD_CIRCUIT_OPEN',
      failure: { cause: { code: 'LEASEHOLD_SERVICE_EXITED' } },
    })
    expect(refused?.message).toContain(
      `its process left the foreground: it ended with code 0, and ${listened}`,
    )
    expect(refused?.message).toContain('have command run the server in the foreground')
    expect(library.supervisor.service('demo')).toMatchObject({
      state: 'down.tripped',
      whyText: expect.stringContaining(`${listened}, which listened on its port ${library.port}, was ended`),
    })
    expect(library.all('process.spawned')).toHaveLength(1)
  },
)

test('a client that tries again at once meets the failure that it was told, and causes no start of its own', async () => {
  const patient = { ...leasehold, backoffMs: 600_000, backoffMaxMs: 600_000 }
  await using library = await createLibraryOf('/bin/sh', () => ['-c', 'echo a riddle >&2; exit 3'], {
    leasehold: patient,
  })
  const answers = []
  for (let count = 0; count < 5; count += 1) answers.push(await acquire(library))
  for (const answer of answers)
    expect(answer).toMatchObject({ code: 'LEASEHOLD_EXITED_BEFORE_READY', failure: { exitCode: 3 } })
  expect(answers.at(-1)).toMatchObject({ retryAfterMs: expect.any(Number) })
  expect(library.all('process.spawned')).toHaveLength(1)
  // A start by hand is another matter.
  await expect(library.supervisor.start('demo')).rejects.toMatchObject({
    code: 'LEASEHOLD_EXITED_BEFORE_READY',
  })
  expect(library.all('process.spawned')).toHaveLength(2)
})
