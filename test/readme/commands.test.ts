import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { expect, test } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { createPlace, launch, type Running } from '../cli/command-line.ts'
import { chatValues, writeHeader } from '../cli/init/gguf-files.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const blocks = readme.matchAll(/```sh\n([\s\S]*?)```/g)
/** The page about clusters has the lines for them; test/cluster runs those. */
const clusterPage = readFileSync(join(root, 'src/cluster/README.md'), 'utf8')
const lines = [...blocks]
  .flatMap(([, block = '']) => block.trim().split('\n'))
  .map((line) => line.replace(/ +# .*$/, ''))

test('the README has a line for every command', () => {
  /** Without hidden commands, which only our own scripts call. */
  const listShown = (command: Command) =>
    command
      .createHelp()
      .visibleCommands(command)
      .filter((inner) => inner.name() !== 'help')
  const list = (command: Command, before: string): string[] => {
    const name = `${before} ${command.name()}`
    const shown = listShown(command)
    return shown.length > 0 ? shown.flatMap((inner) => list(inner, name)) : [name]
  }
  const program = createProgram('0.0.0', { out: () => {}, err: () => {} } as never, () => {})
  const names = listShown(program).flatMap((command) => list(command, 'leasehold'))
  const isShown = (name: string) =>
    lines.some((line) => `${line} `.startsWith(`${name} `)) || clusterPage.includes(`\n${name} `)
  expect(names.filter((name) => !isShown(name))).toEqual([])
})

/** What a line prints, where more is known than that it succeeds. */
const PRINTS: readonly (readonly [RegExp, RegExp])[] = [
  [/^leasehold init --from /, /Wrote leasehold\.json5/],
  [/^leasehold init /, /tiny/],
  [/^curl /, /17 \* 3 = 51\./],
  [/^leasehold infer /, /6 \* 7 = 42\./],
  [/^leasehold doctor/, /probes work as they are/],
  [/^leasehold status/, /^demo /m],
  [/^leasehold events/, /ready/],
  [/^leasehold config print/, /"demo"/],
  [/^leasehold keys new/, /^\S{20,}\n/],
  [/^leasehold (?:models|why|logs|start|stop|config|machines|script|replay)/, /\S/],
]

/** Where a line runs, if not in the folder of the test. */
const PLACES: readonly (readonly [RegExp, (folder: string) => { cwd?: string; env?: object }])[] = [
  // It would replace the modules of this run: a dry run compares the lock file.
  [/^npm ci$/, () => ({ env: { npm_config_dry_run: 'true' } })],
  [/^npm link$/, () => ({ cwd: root })],
  // It writes over no file, so each line has a folder of its own.
  [/^leasehold init --from /, (folder) => ({ cwd: join(folder, 'translated') })],
  [/^leasehold init /, (folder) => ({ cwd: join(folder, 'new') })],
]

test('every line of the README runs, in its order', { tags: ['proof'], timeout: 180_000 }, async () => {
  await using place = await createPlace()
  const { folder, gatewayPort } = place
  const { stdout } = await place.run('config', 'print', '--config', 'builtin:demo')
  place.write('leasehold.json5', JSON.stringify({ ...JSON.parse(stdout), leasehold: { port: gatewayPort } }))
  mkdirSync(join(folder, 'test/scripts'), { recursive: true })
  for (const file of ['package.json', 'package-lock.json', 'test/scripts/idle-stop.json5'])
    copyFileSync(join(root, file), join(folder, file))

  // `init` finds an engine and a model here.
  for (const name of ['new', 'translated']) mkdirSync(join(folder, name))
  copyFileSync(
    join(root, 'test/cli/llama-swap/configs/folder-of-ggufs.yaml'),
    join(folder, 'translated/config.yaml'),
  )
  mkdirSync(join(folder, 'prefix/bin'), { recursive: true })
  symlinkSync('/bin/true', join(folder, 'prefix/bin/llama-server'))
  writeHeader(join(folder, 'models/tiny.gguf'), chatValues)

  const environment = {
    PATH: `${folder}/prefix/bin:${process.env.PATH}`,
    HOME: folder,
    XDG_STATE_HOME: join(folder, 'state'),
    NO_COLOR: '1',
    npm_config_prefix: join(folder, 'prefix'),
    npm_config_cache: join(folder, 'cache'),
    npm_config_offline: 'true',
    npm_config_ignore_scripts: 'true',
    npm_config_audit: 'false',
  }
  const start = (line: string, { cwd = folder, env = {} } = {}) =>
    launch('sh', ['-c', line.replaceAll('4141', String(gatewayPort))], {
      cwd,
      env: { ...environment, ...env },
    })
  /** Starts a program that goes on until it gets SIGTERM. */
  const keep = async (line: string, isUp: RegExp) => {
    const running = start(`exec ${line}`)
    await running.until(isUp)
    return running
  }
  const end = async (running: Running | undefined) => {
    if (running === undefined) return
    running.child.kill('SIGTERM')
    expect(await running.ended).toMatchObject({ code: 0 })
  }

  let gateway: Running | undefined
  try {
    for (const line of lines) {
      if (line.startsWith('leasehold serve')) {
        const record = gateway === undefined ? ' --record crash.ndjson' : ''
        await end(gateway)
        gateway = await keep(`${line} --port ${gatewayPort}${record}`, /listens on/)
      } else if (line === 'leasehold demo-server') await end(await keep(`${line} --port 0`, /http:/))
      else {
        const ending = await start(line, PLACES.find(([of]) => of.test(line))?.[1](folder)).ended
        expect({ line, ...ending }).toMatchObject({ line, code: 0 })
        const [, pattern] = PRINTS.find(([of]) => of.test(line)) ?? []
        if (pattern !== undefined)
          expect({ line, ...ending }).toMatchObject({ stdout: expect.stringMatching(pattern) })
      }
    }
  } finally {
    await end(gateway)
    // It links to the checkout, which is not a file of the test.
    rmSync(join(folder, 'prefix'), { recursive: true })
  }
})

test('the program of the README embeds it', { tags: ['proof'] }, async () => {
  await using place = await createPlace()
  const { folder, modelPort } = place
  place.configure()
  const config = readFileSync(join(folder, 'leasehold.json5'), 'utf8')
  place.write('leasehold.json5', config.replace('"calc"', '"qwen"'))
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(root, join(folder, 'node_modules/leasehold'))
  symlinkSync(join(root, 'node_modules/openai'), join(folder, 'node_modules/openai'))
  const [, program = ''] = /```js\n([\s\S]*?)```/.exec(readme) ?? []
  const file = place.write(
    'program.mjs',
    `${program}\nconsole.log(answer.choices[0].message.role, lease.baseUrl)\n`,
  )
  const env = { PATH: process.env.PATH, HOME: folder, XDG_STATE_HOME: join(folder, 'state') }
  const ending = await launch(process.execPath, [file], { cwd: folder, env }).ended
  rmSync(join(folder, 'node_modules'), { recursive: true })
  expect(ending).toEqual({
    code: 0,
    signal: null,
    stdout: `assistant http://127.0.0.1:${modelPort}/v1\n`,
    stderr: '',
  })
  expect(place.strays()).toEqual([])
})
