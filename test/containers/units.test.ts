// @module-tag proof

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSupervisor } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { demoServer, listen, writeAndLoad } from '../integration/library.ts'
import { findManagerObstacle, openUserManager, type UserManager } from './user-manager.ts'

const host = fileURLToPath(new URL('../fixtures/host.mjs', import.meta.url))
const body = JSON.stringify({ model: 'demo/demo', messages: [{ role: 'user', content: '6 * 7' }] })
const headers = { 'content-type': 'application/json' }

const obstacle = findManagerObstacle()
describe.skipIf(obstacle !== undefined)(
  `a unit of systemd${obstacle === undefined ? '' : ` (${obstacle})`}`,
  () => {
    let manager: UserManager
    beforeAll(async () => {
      manager = await openUserManager()
    })
    afterAll(() => manager?.[Symbol.asyncDispose]())

    /** Writes the unit `box.service`, and gives the configuration of a service that it runs. */
    const defineBox = async (lines: readonly string[] = []) => {
      const port = await findFreePort()
      manager.define('box.service', [
        '[Service]',
        `ExecStart=${process.execPath} ${demoServer} --port ${port}`,
        ...lines,
      ])
      manager.order('daemon-reload')
      return JSON.stringify({
        models: {
          mode: 'replace',
          providers: {
            demo: {
              baseUrl: `http://127.0.0.1:${port}/v1`,
              models: [{ id: 'demo' }],
              localService: { unit: 'box.service', env: manager.env, stopGraceMs: '5s' },
            },
          },
        },
        leasehold: { backoffMs: 10, heartbeatMs: 100 },
      })
    }
    const openBox = async (text: string) => {
      const stateDir = await mkdtemp(join(tmpdir(), 'leasehold-unit-'))
      const supervisor = createSupervisor({ config: await writeAndLoad(text), stateDir })
      return {
        supervisor,
        ...listen(supervisor),
        ask: () =>
          supervisor
            .fetch('http://leasehold/v1/chat/completions', { method: 'POST', headers, body })
            .then((answer) => answer.text()),
        [Symbol.asyncDispose]: async () => {
          await supervisor.close({ force: true })
          await rm(stateDir, { recursive: true })
        },
      }
    }
    const stateOf = () => manager.order('show', '--property=ActiveState', '--value', 'box.service').trim()

    test('is started, leased and stopped', async () => {
      await using box = await openBox(await defineBox())
      expect(await box.ask()).toContain('42')
      expect(stateOf()).toBe('active')
      expect(await box.supervisor.stop('demo')).toMatchObject({
        state: 'down.cold',
        receipt: { survivors: [], outside: { exitCodes: [0], status: 'gone' } },
      })
      expect(stateOf()).toBe('inactive')
    })

    test('that systemd starts again after a crash is waited for, and not started a second time (fault E-14)', async () => {
      await using box = await openBox(await defineBox(['Restart=always', 'RestartSec=1']))
      const lease = await box.supervisor.acquire('demo/demo')
      await box.until('process.detached')
      const missed = box.next('health.verdict', ({ verdict }) => verdict.kind !== 'ready')
      manager.order('kill', '--signal=SIGKILL', 'box.service')
      await missed
      expect(await box.ask()).toContain('42')
      expect(lease.signal.aborted).toBe(false)
      expect(box.all('process.spawned')).toHaveLength(1)
      lease.release()
      expect(await box.supervisor.stop('demo')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
      expect(stateOf()).toBe('inactive')
    })

    test('that does not exist is told in the words of systemd', async () => {
      const text = (await defineBox()).replace('box.service', 'nowhere.service')
      await using box = await openBox(text)
      await expect(box.supervisor.acquire('demo/demo')).rejects.toThrow(/nowhere\.service not found/)
    })

    test('of a supervisor that was killed is stopped by the watchdog (fault E-10)', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'leasehold-unit-'))
      const file = join(folder, 'leasehold.json5')
      await writeFile(file, await defineBox())
      const program = spawn(process.execPath, [host, file, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
      const listRecords = async () =>
        (await readdir(join(folder, 'owners'))).filter((name) => name.endsWith('.json'))
      try {
        await once(program.stdout, 'data')
        expect(stateOf()).toBe('active')
        program.kill('SIGKILL')
        await expect.poll(listRecords, { timeout: 60_000 }).toEqual([])
        expect(stateOf()).toBe('inactive')
      } finally {
        program.kill('SIGKILL')
        await rm(folder, { recursive: true })
      }
    })
  },
)
