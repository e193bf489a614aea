// @module-tag proof

import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  createSupervisor,
  loadConfig,
  type ServiceSnapshot,
  type SupervisorOptions,
  type SupervisorSnapshot,
} from '../../src/index.ts'
import { hasProcfs } from '../../src/process/tree.ts'
import { createPlace, type Place, program } from '../cli/command-line.ts'
import { isRunning } from '../process/world.ts'
import { listen } from './library.ts'

/** `SHARED_ROUNDS=200` by hand takes its time. */
const ROUNDS = Number(process.env.SHARED_ROUNDS ?? 1)

/** A model server that leaves a line in `spawns` for each of its lives. */
function configure(place: Place, flags: readonly string[] = [], localService: object = {}) {
  const wrapper = place.write(
    'counted.mjs',
    `import { appendFileSync } from 'node:fs'
    appendFileSync(${JSON.stringify(`${place.folder}/spawns`)}, process.pid + '\\n')
    await import(${JSON.stringify(program)})`,
  )
  const args = [
    ...[wrapper, 'demo-server', '--port', String(place.modelPort), '--models', 'sums'],
    ...['--load-ms', '200', ...flags],
  ]
  place.configure([], { args, ...localService })
}
const spawnsOf = ({ folder }: Place): readonly number[] =>
  existsSync(`${folder}/spawns`)
    ? readFileSync(`${folder}/spawns`, 'utf8').trim().split('\n').map(Number)
    : []

/** An embedder that belongs to the place's supervisors. */
async function embed({ folder }: Place, options: Partial<SupervisorOptions> = {}) {
  const supervisor = createSupervisor({
    config: await loadConfig(`${folder}/leasehold.json5`),
    stateDir: `${folder}/state/leasehold`,
    ...options,
  })
  // Closed before its place is taken away: its state is there.
  return { supervisor, ...listen(supervisor), [Symbol.asyncDispose]: () => supervisor.close({ force: true }) }
}
const body = (prompt: string, stream = false) =>
  JSON.stringify({ model: 'demo/sums', messages: [{ role: 'user', content: prompt }], stream })
const headers = { 'content-type': 'application/json' }

/** Starts a gateway of the place, and gives its URL when it listens. */
async function serve(place: Place): Promise<string> {
  const [url] = await place.start('serve', '--port', '0').until(/http:\/\/127\.0\.0\.1:\d+/)
  return url
}
const chat = (url: string, prompt: string, stream = false) =>
  fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body: body(prompt, stream) })

/** What a gateway answers to a sum. */
const askSum = async (url: string) => {
  const response = await chat(url, 'What is 6 * 7?')
  return [response.status, await response.text()]
}
const sumAnswered = [200, expect.stringContaining('42')]

/** The one service of a gateway, as its API tells of it. */
async function look(url: string): Promise<ServiceSnapshot | undefined> {
  const { services } = (await (await fetch(`${url}/api/services`)).json()) as SupervisorSnapshot
  return services[0]
}

describe.skipIf(!hasProcfs)('processes of one user', () => {
  test('two gateways and an embedder that start together spawn once (fault 89, race R8, promise P15)', {
    timeout: 120_000 * ROUNDS,
  }, async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      await using place = await createPlace()
      configure(place)
      const urls = await Promise.all([serve(place), serve(place)])
      await using embedder = await embed(place)
      const lease = embedder.supervisor.acquire('demo/sums')
      expect(await Promise.all(urls.map(askSum))).toEqual(Array(2).fill(sumAnswered))
      ;(await lease).release()
      expect(spawnsOf(place)).toHaveLength(1)
    }
  })

  test('two gateways, a command and an embedder that start together have one server among them (fault 89, promise P15)', {
    timeout: 120_000 * ROUNDS,
  }, async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      await using place = await createPlace()
      configure(place)
      const urls = await Promise.all([serve(place), serve(place)])
      await using embedder = await embed(place)
      const lease = embedder.supervisor.acquire('demo/sums')
      const answers = await Promise.all([
        ...urls.map(askSum),
        place
          .run('infer', 'model', 'run', '--local', '--prompt', 'What is 6 * 7?')
          .then(({ code, stdout }) => [code === 0 ? 200 : code, stdout]),
      ])
      expect(answers).toEqual(Array(3).fill(sumAnswered))
      ;(await lease).release()
      // An infer that won has stopped it with its end, and another that still needed it started one more, alone.
      const lives = spawnsOf(place)
      expect(lives.length).toBeLessThanOrEqual(2)
      expect(lives.filter(isRunning).length).toBeLessThanOrEqual(1)
    }
  })

  test('an owner that is idle itself stops the server when a guest’s stream has ended, and not before (fault 91, race R10)', {
    timeout: 120_000,
  }, async () => {
    await using place = await createPlace()
    configure(place, ['--token-delay-ms', '50'], { idleStopMs: 50 })
    const [owner, guest] = await Promise.all([serve(place), serve(place)])
    const own = (await chat(owner, 'count to 1000', true)).body?.getReader()
    await own?.read()
    const borrowed = await chat(guest, 'count to 100', true)
    expect(await look(guest)).toMatchObject({ ownership: 'borrowed', leases: 1 })
    await own?.cancel()
    await expect
      .poll(() => look(owner))
      .toMatchObject({ ownership: 'owned', leases: 1, guests: [{ leases: 1 }] })
    expect(await borrowed.text()).toMatch(/ 100"[\s\S]*data: \[DONE\]\s*$/)
    await expect.poll(() => spawnsOf(place).map(isRunning)).toEqual([false])
  })

  test('an owner that is killed under a guest’s stream: the guest’s client is told, the next request starts anew (fault 103, race R9)', {
    timeout: 120_000,
  }, async () => {
    await using place = await createPlace()
    configure(place, ['--token-delay-ms', '50'])
    const owner = place.start('infer', 'model', 'run', '--local', '--prompt', 'count to 1000')
    await expect.poll(() => spawnsOf(place), { timeout: 60_000 }).toHaveLength(1)
    await using guest = await embed(place)
    const response = await guest.supervisor.fetch('http://leasehold/v1/chat/completions', {
      method: 'POST',
      headers,
      body: body('count to 1000', true),
    })
    const reader = response.body?.getReader()
    await reader?.read()
    expect(guest.supervisor.snapshot().services[0]).toMatchObject({
      ownership: 'borrowed',
      holder: { pid: owner.child.pid, name: 'infer' },
    })
    owner.child.kill('SIGKILL')
    const drain = async () => {
      for (let next = await reader?.read(); next?.done === false; next = await reader?.read());
    }
    await expect(drain()).rejects.toThrow()
    expect(await guest.until('request.ended')).toMatchObject({ outcome: 'failed' })
    await once(owner.child, 'close')
    await using lease = await guest.supervisor.acquire('demo/sums')
    expect(lease.owned).toBe(true)
    const lives = spawnsOf(place)
    expect(lives).toHaveLength(2)
    expect(lives.map(isRunning)).toEqual([false, true])
  })

  test('an owner that stands still is named to its guests in a bounded time, and no second server is started', {
    timeout: 120_000,
  }, async () => {
    await using place = await createPlace()
    configure(place, ['--token-delay-ms', '50'])
    const owner = place.start('serve', '--port', '0')
    const [url] = await owner.until(/http:\/\/127\.0\.0\.1:\d+/)
    const pid = owner.child.pid ?? 0
    await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body: body('What is 6 * 7?') })
    await using guest = await embed(place)
    const silent = {
      code: 'LEASEHOLD_OWNER_SILENT',
      message: expect.stringMatching(
        new RegExp(`process ${pid}\\) has not answered for 5000 ms: .* \\(kill -CONT ${pid}\\)`),
      ),
    }
    const lease = await guest.supervisor.acquire('demo/sums')
    owner.child.kill('SIGSTOP')
    try {
      // One that asks under a lease, which stays: the server is well.
      await expect(guest.supervisor.acquire('demo/sums')).rejects.toMatchObject(silent)
      expect(guest.all('leases.revoked')).toEqual([])
      expect(await (await fetch(`http://127.0.0.1:${place.modelPort}/health`)).json()).toBeTruthy()
      lease.release()
      // One that comes to a claim whose holder does not even say who it is.
      await expect(guest.supervisor.acquire('demo/sums')).rejects.toMatchObject(silent)
      expect(spawnsOf(place)).toHaveLength(1)
    } finally {
      owner.child.kill('SIGCONT')
    }
    // It goes on, and so do its guests.
    const again = await guest.supervisor.acquire('demo/sums')
    expect(again.owned).toBe(false)
    again.release()
    expect(spawnsOf(place)).toHaveLength(1)
  })
})
