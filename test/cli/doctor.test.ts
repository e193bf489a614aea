import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import JSON5 from 'json5'
import { describe, expect, test } from 'vitest'
import type { DoctorReport } from '../../src/doctor/doctor-report.ts'
import { createPlace, type Place, program } from './command-line.ts'

/** A server as inferrs was before April 2026, whose limit has the name that Ollama wants. */
const peculiar = [
  '--strict-content',
  '--reject-developer',
  '--ignore-fields',
  'max_completion_tokens',
  '--reject-fields',
  JSON.stringify({ stream_options: { status: 422, message: 'unknown field `stream_options`' } }),
]
const needed = {
  maxTokensField: 'max_tokens',
  requiresStringContent: true,
  supportsUsageInStreaming: false,
}

/** A file with comments, in which nothing is where a program would write it. */
function writeCommented(place: Place, flags: readonly string[], more = ''): string {
  return place.write(
    'leasehold.json5',
    `// My models.
{
  leasehold: { port: ${place.gatewayPort}${more} }, // the gateway
  models: {
    providers: {
      /* the small one */
      demo: {
        baseUrl: 'http://127.0.0.1:${place.modelPort}/v1',
        localService: {
          command: '${process.execPath}',
          args: ${JSON.stringify([program, 'demo-server', '--port', String(place.modelPort), '--models', 'sums', ...flags])},
          healthUrl: 'http://127.0.0.1:${place.modelPort}/health', // open without a key
        },
        models: [
          { id: 'sums', alias: 'calc' }, // sums only
        ],
      },
    },
  },
}
`,
  )
}

async function report(
  place: Place,
  ...args: string[]
): Promise<DoctorReport & { readonly code: number | null }> {
  const { code, stdout, stderr } = await place.run('doctor', '--json', ...args)
  expect(stderr).toBe('')
  return { ...JSON.parse(stdout), code }
}

describe('leasehold doctor', () => {
  test('starts a service, measures it, and finds nothing wrong with a server that takes everything', async () => {
    await using place = await createPlace()
    place.configure(['--load-ms', '200'])
    const { code, ok, host, programs, services, findings, written } = await report(place)
    expect({ code, ok, findings, written }).toEqual({ code: 0, ok: true, findings: [], written: null })
    expect(host).toMatchObject({ gateway: null, memory: { totalMiB: expect.any(Number) } })
    expect(host.stateDirectory.path).toBe(join(place.folder, 'state', 'leasehold'))
    expect(programs).toEqual([{ command: process.execPath, services: ['demo'], version: process.version }])
    expect(services).toMatchObject([
      {
        service: 'demo',
        outcome: 'examined',
        ownership: 'owned',
        readyMs: expect.any(Number),
        models: [{ ref: 'demo/sums', listed: ['sums'], compat: {}, block: null, unprobed: null }],
      },
    ])
    const [{ readyMs, peakRamMiB, needs } = { readyMs: 0, peakRamMiB: 0, needs: null }] = services
    expect(readyMs).toBeGreaterThanOrEqual(200)
    expect(peakRamMiB).toBeGreaterThan(20)
    expect(needs?.ramMiB).toBeGreaterThanOrEqual(peakRamMiB ?? 0)
    expect(place.strays()).toEqual([])
  })

  test('prints the block that a server needs, what the server said, and what it could not probe', async () => {
    await using place = await createPlace()
    place.configure(peculiar)
    const { code, stdout } = await place.run('doctor', 'calc')
    expect(code).toBe(1)
    const block = /settings for its entry: (.*)/.exec(stdout)?.[1] ?? ''
    expect(JSON5.parse(`{ ${block} }`)).toEqual({ compat: needed })
    expect(stdout).toContain('422 messages[0].content: invalid type: sequence, expected a string')
    expect(stdout).toContain('set compat.requiresStringContent: true')
    expect(stdout).toMatch(/Not probed\n {2}\w+/)
    expect(stdout).toMatch(/warning {2}demo\/sums: the file lacks what this server needs: compat\./)
    expect(place.strays()).toEqual([])
  })

  test('--write puts it into the file, and the next look finds nothing', async () => {
    await using place = await createPlace()
    const file = writeCommented(place, peculiar, ', budgets: { ramMiB: 8000 }')
    chmodSync(file, 0o600)
    const before = readFileSync(file, 'utf8')
    const first = await report(place, '--write')
    expect(first).toMatchObject({ code: 0, ok: true, findings: [] })
    expect(first.written).toHaveLength(4)
    const after = readFileSync(file, 'utf8')
    const { ramMiB } = JSON5.parse(after).models.providers.demo.localService.needs
    expect(ramMiB).toBe(first.services[0]?.needs?.ramMiB)
    expect(JSON5.parse(after).models.providers.demo.models).toEqual([
      { id: 'sums', alias: 'calc', compat: needed },
    ])
    const comments = (text: string) => text.match(/\/\/ .*|\/\*.*\*\//g)
    expect(comments(after)).toEqual(comments(before))
    // Memory differs from run to run.
    const second = await report(place)
    expect(second.findings.filter(({ code }) => code !== 'needs')).toEqual([])
    // An agent's request passes now.
    const answer = await place.run('infer', 'model', 'run', '--prompt', 'What is 6 * 7?')
    expect(answer.stdout).toBe('6 * 7 = 42.\n')
    expect(readdirSync(place.folder).filter((name) => name.startsWith('.lease'))).toEqual([])
  })

  test('a file that changes meanwhile is not written', async () => {
    await using place = await createPlace()
    const file = writeCommented(place, [...peculiar, '--load-ms', '1500'])
    const running = place.start('doctor', '--json', '--write')
    await expect.poll(() => place.strays().length).toBeGreaterThan(0)
    const changed = `${readFileSync(file, 'utf8')}// changed\n`
    writeFileSync(file, changed)
    const { code, stdout } = await running.ended
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      written: [],
      findings: [{ code: 'lacking-settings' }, { code: 'not-written' }],
    })
    expect(readFileSync(file, 'utf8')).toBe(changed)
  })

  test('--no-start looks at programs and ports, and starts nothing', async () => {
    await using place = await createPlace()
    place.configure(['--journal', join(place.folder, 'journal')])
    const well = await report(place, '--no-start')
    expect(well).toMatchObject({ code: 0, services: [{ outcome: 'skipped', portHolder: null, models: [] }] })
    expect(readdirSync(place.folder)).not.toContain('journal')

    const script = place.write('server.sh', '#!/bin/sh\ntouch ran\n')
    place.configure([], { command: script, args: [] })
    const denied = await report(place, '--no-start')
    expect(denied).toMatchObject({
      code: 1,
      findings: [{ level: 'error', code: 'unavailable', about: 'demo' }],
    })
    chmodSync(script, 0o755)
    // A script may start a server whatever its arguments are.
    expect(await report(place, '--no-start')).toMatchObject({ code: 0, programs: [{ version: null }] })
    expect(readdirSync(place.folder)).not.toContain('ran')
  })

  test('an invalid file is told with its place, and the host is looked at all the same', async () => {
    await using place = await createPlace()
    place.write('leasehold.json5', '{ models: { providers: { a: {} } } }')
    const { code, problems, host } = await report(place)
    expect(code).toBe(2)
    expect(problems).toMatchObject([{ severity: 'error', line: 1 }])
    expect(host.memory.totalMiB).toBeGreaterThan(0)
  })

  test('does not say that nothing was found where the file has a problem', async () => {
    await using place = await createPlace()
    const absent = await place.run('doctor', '--config', 'absent.json5')
    expect(absent.code).toBe(2)
    expect(absent.stdout).toContain('absent.json5: error: there is no such file')
    expect(absent.stdout).not.toMatch(/^ +none$/m)
    expect(absent.stdout).toMatch(/^ {2}the configuration cannot be used, see above/m)

    place.write('leasehold.json5', '{ models: { providers: {} } }')
    const empty = await place.run('doctor', '--no-start')
    expect(empty).toMatchObject({ code: 1, stdout: expect.stringMatching(/: warning: /) })
    expect(empty.stdout).not.toMatch(/^ +none$/m)
  })

  test('a service that does not become ready is an error with what it printed', async () => {
    await using place = await createPlace()
    place.configure(['--load-ms', '50', '--fail-load', 'exit'])
    const { code, services, findings } = await report(place)
    expect(code).toBe(1)
    expect(services).toMatchObject([{ outcome: 'failed', models: [] }])
    expect(findings).toMatchObject([{ level: 'error', code: 'not-started', about: 'demo' }])
    expect(findings[0]?.text).toMatch(/exit(?:ed with)? code 1/)
  })

  test('a server that a probe ends is told by that probe', async () => {
    await using place = await createPlace()
    place.configure(['--crash-before-response'])
    const { code, services, findings } = await report(place)
    expect(code).toBe(1)
    expect(services).toMatchObject([{ models: [{ probes: [{ probe: 'plain', outcome: 'refused' }] }] }])
    expect(findings).toMatchObject([
      { level: 'error', code: 'not-probed', about: 'demo/sums' },
      { code: 'probe' },
    ])
    expect(findings[0]?.text).toContain('its server ended')
    expect(place.strays()).toEqual([])
  })

  test('a server that runs already is asked and goes on running', async () => {
    await using place = await createPlace()
    place.configure(peculiar)
    const stranger = place.start(
      'demo-server',
      '--port',
      String(place.modelPort),
      '--models',
      'sums',
      '--strict-content',
    )
    await stranger.until(/listening on/)
    const { services } = await report(place)
    expect(services).toMatchObject([
      {
        ownership: 'adopted',
        portHolder: expect.stringContaining(`process ${stranger.child.pid}`),
        readyMs: null,
        needs: null,
        // That of the server that answers, and not of the one that the file would start.
        models: [{ compat: { requiresStringContent: true } }],
      },
    ])
    expect(stranger.child.exitCode).toBeNull()
    expect((await fetch(`http://127.0.0.1:${place.modelPort}/health`)).status).toBe(200)
  })

  test('a service that the gateway uses is left alone, and one that it does not use is borrowed', async () => {
    await using place = await createPlace()
    place.configure(['--token-delay-ms', '20'])
    const gateway = place.start('serve')
    await gateway.until(/listens on/)
    const base = `http://127.0.0.1:${place.gatewayPort}`
    const response = await fetch(`${base}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'count to 5000' }], stream: true }),
    })
    const reader = response.body?.getReader()
    await reader?.read()
    const busy = await report(place)
    expect(busy).toMatchObject({
      code: 0,
      host: { gateway: base },
      services: [{ outcome: 'skipped', models: [] }],
    })
    expect(busy.findings).toMatchObject([{ level: 'note', code: 'in-use' }])
    const { services } = await (await fetch(`${base}/api/services`)).json()
    expect(services).toMatchObject([{ leases: 1 }])
    await reader?.cancel()
    await expect
      .poll(async () => (await (await fetch(`${base}/api/services`)).json()).services[0].leases)
      .toBe(0)
    const idle = await report(place)
    expect(idle).toMatchObject({
      services: [{ outcome: 'examined', ownership: 'borrowed', readyMs: null }],
    })
    expect((await (await fetch(`${base}/api/services`)).json()).services).toMatchObject([{ state: 'ready' }])
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('%s ends it and what it started', async (signal) => {
    await using place = await createPlace()
    place.configure(['--load-ms', '60000'])
    const running = place.start('doctor')
    await expect.poll(() => place.strays().length).toBeGreaterThan(0)
    running.child.kill(signal)
    const ending = await running.ended
    expect(ending.signal ?? ending.code).toEqual(expect.anything())
    expect([signal, signal === 'SIGINT' ? 130 : 143]).toContain(ending.signal ?? ending.code)
    expect(ending.stdout).toBe('')
    expect(place.strays()).toEqual([])
  })
})
