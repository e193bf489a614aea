// @module-tag proof

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Config } from '../../src/config/config.ts'
import { examine } from '../../src/doctor/doctor.ts'
import type { ModelReport, ServiceReport } from '../../src/doctor/doctor-report.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { writeAndLoad } from '../integration/library.ts'
import { countModel, describeWithLlama, llamaServer } from './llama-server.ts'
import { writeModel } from './model.ts'

/** Takes system messages at the beginning alone, and has no place for tools. */
const strictTemplate = `{%- for m in messages %}
{%- if m.role == 'system' and not loop.first %}{{ raise_exception('System message must be at the beginning.') }}{%- endif %}
<|{{ m.role }}|>{{ m.content }}
{%- endfor %}<|assistant|>`

describeWithLlama('leasehold doctor and a real llama-server', () => {
  test('nothing is needed for its defaults; its version, memory and context are told', async () => {
    const { report, model } = await look({ flags: ['--ctx-size', '4096', '--parallel', '2'] })
    expect(model).toMatchObject({
      compat: {},
      dropParams: [],
      block: null,
      unprobed: null,
      takesImages: false,
    })
    // Of two slots each has half of it.
    expect(model.contextTokens).toBe(2_048)
    expect(report.programs).toMatchObject([{ version: expect.stringMatching(/version/) }])
    const [service] = report.services
    expect(service).toMatchObject({ outcome: 'examined', ownership: 'owned' })
    expect(service?.peakRamMiB).toBeGreaterThan(10)
    expect(report.findings.filter(({ level }) => level !== 'note')).toEqual([])
  })

  test('without templates it needs supportsTools: false', async () => {
    const { model } = await look({ flags: ['--no-jinja'] })
    expect(model.compat).toEqual({ supportsTools: false })
    expect(model.probes.find(({ probe }) => probe === 'tools')).toMatchObject({
      outcome: 'cured',
      detail: expect.stringContaining('add "--jinja" to localService.args'),
    })
  })

  test('with a strict template it needs merged system messages, and tools that are dropped are told', async () => {
    const { model, report } = await look({ template: strictTemplate })
    expect(model.compat).toEqual({ laterSystemMessages: 'merge' })
    expect(model.probes.find(({ probe }) => probe === 'tools')).toMatchObject({ outcome: 'missing' })
    expect(report.findings).toContainEqual(
      expect.objectContaining({ level: 'warning', code: 'probe', text: expect.stringContaining('tools') }),
    )
  })

  test('a context that is too small for a probe sets no flag', async () => {
    const { model } = await look({ flags: ['--ctx-size', '512'] })
    expect(model.compat).toEqual({})
    expect(model.probes.find(({ probe }) => probe === 'tool-result')).toMatchObject({
      outcome: 'unclear',
      detail: expect.stringContaining('exceeds the available context size'),
    })
  })
})

async function look({
  flags = [],
  template,
}: {
  readonly flags?: readonly string[]
  readonly template?: string
}) {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-doctor-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const model = join(folder, 'model.gguf')
  await writeModel(model, countModel)
  const templateFile = join(folder, 'chat.jinja')
  if (template !== undefined) await writeFile(templateFile, template)
  const port = await findFreePort()
  const config: Config = await writeAndLoad(
    JSON.stringify({
      models: {
        mode: 'replace',
        providers: {
          llama: {
            baseUrl: `http://127.0.0.1:${port}/v1`,
            models: [{ id: 'demo' }],
            localService: {
              command: llamaServer,
              args: [
                ...['--model', model, '--threads', '1', '--host', '127.0.0.1', '--port', String(port)],
                ...(template === undefined ? [] : ['--chat-template-file', templateFile]),
                ...flags,
              ],
              healthUrl: `http://127.0.0.1:${port}/health`,
              cwd: folder,
              env: { XDG_CONFIG_HOME: folder },
            },
          },
        },
      },
      leasehold: { port: 0 },
    }),
  )
  const report = await examine({
    config,
    env: { ...process.env, LEASEHOLD_STATE_DIR: join(folder, 'state') },
    gateway: undefined,
    signal: new AbortController().signal,
  })
  const [service]: readonly (ServiceReport | undefined)[] = report.services
  const [found]: readonly (ModelReport | undefined)[] = service?.models ?? []
  if (found === undefined) throw new Error(JSON.stringify(report.findings))
  return { report, model: found }
}
