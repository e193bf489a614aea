import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { createPlace } from './command-line.ts'

const execute = promisify(execFile)
const has = (program: string) => spawnSync(program, ['--version']).error === undefined

/** `test`, for tests that need a program of the host: without it they are skipped, and their title says so. */
const testWith = (program: string) =>
  has(program)
    ? test
    : (title: string, run: () => Promise<void>) => test.skip(`${title} (there is no ${program})`, run)

const provider = (port: number, service: object = {}) => ({
  baseUrl: `http://127.0.0.1:${port}/v1`,
  models: [{ id: 'm' }],
  localService: { command: process.execPath, ...service },
})

/** A configuration in a folder whose name systemd and XML would change, and two services with different limits. */
async function createServicePlace() {
  const place = await createPlace()
  const folder = join(place.folder, 'a b%h$HOME "&<')
  mkdirSync(folder)
  const config = join(folder, 'leasehold.json5')
  const providers = {
    quick: provider(9),
    slow: provider(10, { drainTimeoutMs: 40_000, stopGraceMs: 90_000 }),
  }
  writeFileSync(config, JSON.stringify({ models: { providers } }), { mode: 0o600 })
  return { place, folder, config, [Symbol.asyncDispose]: () => place[Symbol.asyncDispose]() }
}

describe('leasehold service print', () => {
  testWith('systemd-analyze')('prints a unit that systemd understands', async () => {
    await using setting = await createServicePlace()
    const { place, folder, config } = setting
    const { code, stdout } = await place.run('service', 'print', '--manager', 'systemd', '--config', config)
    expect(code).toBe(0)
    // A drain of 40 s, a grace of 90 s, 6 s to kill and to sweep, and a margin.
    expect(stdout).toMatch(/^KillMode=mixed$/m)
    expect(stdout).toMatch(/^TimeoutStopSec=146$/m)
    const unit = join(place.folder, 'leasehold.service')
    writeFileSync(unit, stdout)
    const env = { ...process.env, XDG_RUNTIME_DIR: place.folder }
    const { stderr } = await execute('systemd-analyze', ['--user', 'verify', unit], { env })
    expect(stderr).toBe('')
    // Each special character has its escape: systemd replaces %h and $HOME, and a quote ends a word.
    const escaped = folder.replaceAll('%', '%%').replaceAll('$', '$$$$').replaceAll('"', '\\"')
    expect(stdout).toMatch(/^ExecStart=\/\S+ \/\S+main\.js serve --config "/m)
    expect(stdout).toContain(`--config "${escaped}/leasehold.json5"\n`)
  })

  testWith('python3')('prints a launchd agent that parses', async () => {
    await using setting = await createServicePlace()
    const { place, folder, config } = setting
    const { code, stdout } = await place.run('service', 'print', '--manager', 'launchd', '--config', config)
    expect(code).toBe(0)
    const parse = 'import json, plistlib, sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))'
    const { stdout: parsed, stderr: trouble } = spawnSync('python3', ['-c', parse], {
      input: stdout,
      encoding: 'utf8',
    })
    expect(trouble).toBe('')
    const plist = JSON.parse(parsed)
    expect(plist).toMatchObject({
      Label: 'leasehold',
      WorkingDirectory: folder,
      RunAtLoad: true,
      KeepAlive: { SuccessfulExit: false },
      ExitTimeOut: 146,
      EnvironmentVariables: { PATH: process.env.PATH },
    })
    const [node, program, ...args] = plist.ProgramArguments
    expect(args).toEqual(['serve', '--config', config])
    const { stdout: version } = await execute(node, [program, '--version'])
    expect(version).toMatch(/^\d+\.\d+/)
  })

  test('needs a configuration file', async () => {
    await using place = await createPlace()
    const { code, stderr } = await place.run('service', 'print')
    expect([code, stderr]).toEqual([2, expect.stringContaining('leasehold init')])
  })
})

describe('leasehold service install', () => {
  test('shows the file, writes it with --yes, and writes over another one with --force alone', async () => {
    await using place = await createPlace()
    place.configure()
    const install = (...args: string[]) => place.run('service', 'install', '--manager', 'systemd', ...args)
    const file = join(place.folder, '.config/systemd/user/leasehold.service')
    const asked = await install()
    expect([asked.code, asked.stdout]).toEqual([2, expect.stringContaining('KillMode=mixed')])
    expect(asked.stderr).toContain('--yes')
    expect(() => readFileSync(file)).toThrow(/ENOENT/)

    const written = await install('--yes')
    expect([written.code, written.stdout]).toEqual([0, expect.stringContaining('systemctl --user enable')])
    const text = readFileSync(file, 'utf8')
    expect(written.stdout).toContain(text)
    expect((await install()).stdout).toContain('It is there already')

    writeFileSync(file, `${text}# mine\n`)
    const refused = await install('--yes')
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('--force')])
    expect(readFileSync(file, 'utf8')).toContain('# mine')
    expect((await install('--yes', '--force')).code).toBe(0)
    expect(readFileSync(file, 'utf8')).toBe(text)
  })

  test.each([
    // A file where a folder should be, a folder of the kernel that takes none, and a folder where the file should be.
    ['file', /cannot be read: a part of its path is not a folder \(ENOTDIR\)/],
    ...(process.platform === 'linux' ? [['/proc', /cannot be written: .+ \(ENOENT\)/] as const] : []),
    ['taken', /is there, and is not a regular file/],
  ] as const)('tells why nothing can be written in %s, and what to do', async (home, reason) => {
    await using outer = await createPlace()
    const XDG_CONFIG_HOME = join(home === '/proc' ? '' : outer.folder, home)
    await using place = await createPlace({ XDG_CONFIG_HOME })
    place.configure()
    outer.write('file', '')
    mkdirSync(join(outer.folder, 'taken/systemd/user/leasehold.service'), { recursive: true })
    const { code, stderr } = await place.run('service', 'install', '--manager', 'systemd', '--yes')
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(reason) })
    expect(stderr).toContain(`${XDG_CONFIG_HOME}/systemd/user/leasehold.service`)
    expect(stderr).toContain('leasehold service print')
  })

  test('prints one JSON document', async () => {
    await using place = await createPlace()
    place.configure()
    const { stdout } = await place.run('service', 'install', '--manager', 'launchd', '--yes', '--json')
    const { file, ...rest } = JSON.parse(stdout)
    expect(file).toBe(join(place.folder, 'Library/LaunchAgents/leasehold.plist'))
    expect(rest).toMatchObject({ ok: true, isChanged: true, manager: 'launchd' })
    expect(readFileSync(file, 'utf8')).toBe(rest.text)
    expect(dirname(file)).toContain('LaunchAgents')
  })
})
