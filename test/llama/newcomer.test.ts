// @module-tag proof

import { mkdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { createPlace, listCommandLines } from '../cli/command-line.ts'
import { describeWithLlama, llamaServer } from './llama-server.ts'
import { writeModel } from './model.ts'

const answers = {
  'Alpha-1B-Q8_0.gguf': ['alpha-1b', 'one two three'],
  'beta-mini-f16.gguf': ['beta-mini', 'red green blue'],
  'gamma.gguf': ['gamma', 'north south east'],
} as const
const TWO_MINUTES = 120_000
/** A busy host takes its time for the doctor's probes. */
const PATIENCE_MS = 300_000

describeWithLlama('a newcomer with a folder of GGUF files', () => {
  test(
    'gets from init to answers of three models in under two minutes, and nothing is left afterwards',
    async () => {
      await using place = await createPlace({ PATH: dirname(llamaServer ?? '') })
      const folder = join(place.folder, 'models')
      mkdirSync(folder)
      for (const [name, [, text]] of Object.entries(answers))
        await writeModel(join(folder, name), { pieces: text.split(' ').map((word) => ` ${word}`) })

      const startedMs = performance.now()
      const written = await place.run('init', 'models', '--yes')
      expect(written).toMatchObject({ code: 0, stderr: '' })
      // Other tests that run at this moment have servers at the ports that are assigned first.
      const file = join(place.folder, 'leasehold.json5')
      const config = await readFile(file, 'utf8')
      await writeFile(
        file,
        config.replace('leasehold: {', `leasehold: { firstPort: ${await findFreePort()},`),
      )
      expect((await place.run('config', 'validate')).stdout).toBe('leasehold.json5: ok\n')

      const url = `http://127.0.0.1:${place.gatewayPort}`
      const gateway = place.start('serve', '--port', String(place.gatewayPort))
      await gateway.until(new RegExp(url))
      for (const [alias, text] of Object.values(answers)) {
        const chat = place.startWithInput('chat', alias, '--gateway', url)
        chat.child.stdin?.end('Hello!\n')
        const { code, stdout, stderr } = await chat.ended
        expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: `${text}\n` })
      }
      expect(performance.now() - startedMs).toBeLessThan(TWO_MINUTES)
      const { services } = JSON.parse((await place.run('status', '--json', '--gateway', url)).stdout)
      expect(services).toHaveLength(3)
      for (const service of services) expect(service).toMatchObject({ state: 'ready', ownership: 'owned' })

      expect(await place.run('stop', '--all', '--gateway', url)).toMatchObject({ code: 0 })
      gateway.child.kill('SIGTERM')
      expect(await gateway.ended).toMatchObject({ code: 0 })

      const { code, stdout } = await place.run('doctor')
      for (const [alias] of Object.values(answers)) expect(stdout).toContain(`Service ${alias}\n`)
      expect({ code, findings: /Findings\n([\s\S]*)/.exec(stdout)?.[1] }).toEqual({
        code: 0,
        findings: '  none\n',
      })
      expect(listCommandLines().filter((line) => line.includes(place.folder))).toEqual([])
    },
    PATIENCE_MS,
  )
})
