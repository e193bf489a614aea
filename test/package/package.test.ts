// @module-tag proof
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type BuildOptions, build } from 'esbuild'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../', import.meta.url))
const patience = { timeout: 60_000 }

/** What a host does: its own model server, one request through `fetch`, one through a gateway, one scrape. */
const HOST = `
import { createSupervisor, ConfigError, parseConfig } from 'leasehold'
import { createGateway } from 'leasehold/gateway'
import { providerMachine } from 'leasehold/machines'
import { createMetrics } from 'leasehold/metrics'
import { createModelServer } from 'leasehold/testing'

const server = createModelServer({ models: ['m'] })
const baseUrl = (await server.listen()).url + '/v1'
const supervisor = createSupervisor({ config: { models: { providers: { a: { baseUrl, models: [{ id: 'm' }] } } } } })
const metrics = createMetrics(supervisor)
const gateway = createGateway({ supervisor, port: 0 })
const { url } = await gateway.listen()
const messages = [{ role: 'user', content: 'What is 6 * 7?' }]
const headers = { 'content-type': 'application/json' }
const init = { method: 'POST', headers, body: JSON.stringify({ model: 'a/m', messages }) }
const answers = [
  await (await supervisor.fetch('http://leasehold/v1/chat/completions', init)).json(),
  await (await fetch(url + '/v1/chat/completions', init)).json(),
]
let refusal
try {
  parseConfig('{')
} catch (error) {
  refusal = { isOurs: error instanceof ConfigError, name: error.name }
}
const page = await fetch(url + '/')
const scrape = await (await fetch(url + '/metrics')).text()
console.log(JSON.stringify({
  areRight: answers.map(({ choices }) => choices[0].message.content.includes('42')),
  refusal,
  page: [page.status, (await page.text()).slice(0, 15).toLowerCase()],
  isMetered: scrape.includes('leasehold_requests_total{') && (await metrics.scrape()).includes('leasehold_'),
  machine: providerMachine.id,
}))
await gateway.close()
await supervisor.close()
await server.close()`
/** A host that starts a server, says so, and waits to be killed. */
const KEEPER = `
import { createSupervisor } from 'leasehold'
const [, , port] = process.argv
const baseUrl = \`http://127.0.0.1:\${port}/v1\`
const program = \`require('node:http').createServer((_, response) => {
  response.setHeader('content-type', 'application/json')
  response.end('{"object":"list","data":[{"id":"m"}]}')
}).listen(\${port}, '127.0.0.1')\`
const localService = { command: process.execPath, args: ['-e', program], healthUrl: baseUrl + '/models' }
const supervisor = createSupervisor({ config: { models: { providers: { b: { baseUrl, models: [{ id: 'm' }], localService } } } } })
const { state } = await supervisor.start('b')
console.log(state)
setInterval(() => {}, 60_000)`
const ANSWER = {
  areRight: [true, true],
  refusal: { isOurs: true, name: 'ConfigError' },
  page: [200, '<!doctype html>'],
  isMetered: true,
  machine: 'provider',
}

let folder: string
let installed: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'leasehold-package-'))
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: root,
  })
  const [{ filename }] = JSON.parse(stdout)
  await run('tar', ['xzf', join(folder, filename), '-C', folder])
  // As pnpm lays packages out: each sees what it declares, and nothing else.
  const store = join(folder, 'host/node_modules/.pnpm/leasehold/node_modules')
  await mkdir(store, { recursive: true })
  installed = join(store, 'leasehold')
  await run('mv', [join(folder, 'package'), installed])
  const { dependencies } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
  for (const name of Object.keys(dependencies))
    await symlink(join(root, 'node_modules', name), join(store, name))
  await symlink(installed, join(folder, 'host/node_modules/leasehold'))
  await mkdir(join(folder, 'host/node_modules/.bin'))
  await symlink(join(installed, 'dist/src/cli/main.js'), join(folder, 'host/node_modules/.bin/leasehold'))
  await writeFile(join(folder, 'host/host.mjs'), HOST)
  await writeFile(join(folder, 'host/keeper.mjs'), KEEPER)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('every file that package.json names is in the package, and nothing runs when it is installed', async () => {
  const { exports, bin, scripts } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
  const named = [...Object.values(exports), ...Object.values(bin)].flatMap((entry) =>
    typeof entry === 'string' ? entry : Object.values(entry as Record<string, string>),
  )
  expect(named.filter((file) => !existsSync(join(installed, file)))).toEqual([])
  for (const script of ['preinstall', 'install', 'postinstall', 'prepare'])
    expect(scripts).not.toHaveProperty(script)
})

test('every page that the README links to is in the package, and every example', async () => {
  const text = await readFile(join(installed, 'README.md'), 'utf8')
  const paths = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, path = '']) => path)
  expect(paths.length).toBeGreaterThan(8)
  expect(paths.filter((path) => !existsSync(join(installed, path)))).toEqual([])
})

test('a host in a folder of its own works with the package', patience, async () => {
  const { stdout } = await run(process.execPath, ['host.mjs'], { cwd: join(folder, 'host') })
  expect(JSON.parse(stdout)).toEqual(ANSWER)
})

test.each([
  { title: 'plain', options: {} },
  { title: 'minified', options: { minify: true } },
  { title: 'with the names of functions kept', options: { keepNames: true } },
])(
  'a host that esbuild bundles to ESM without a banner works: $title',
  patience,
  async ({ title, options }) => {
    const outfile = await bundle('host', title, options)
    const { stdout } = await run(process.execPath, [outfile], { cwd: tmpdir() })
    expect(JSON.parse(stdout)).toEqual(ANSWER)
  },
)

test(
  'a server of a bundled host that is killed ends, whatever the bundler does to names',
  patience,
  async () => {
    const program = await bundle('keeper', 'keeper', { minify: true, keepNames: true })
    const port = await findFreePort()
    const host = spawn(process.execPath, [program, String(port)], {
      env: { ...process.env, LEASEHOLD_STATE_DIR: join(folder, 'state') },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void host.kill('SIGKILL'))
    const [said] = await once(host.stdout, 'data')
    expect(String(said)).toBe('ready\n')
    const isUp = () =>
      fetch(`http://127.0.0.1:${port}/v1/models`).then(
        () => true,
        () => false,
      )
    expect(await isUp()).toBe(true)
    host.kill('SIGKILL')
    await expect.poll(isUp).toBe(false)
  },
)

test('the command works through the link that npm makes, and runs its demo', patience, async () => {
  const command = join(folder, 'host/node_modules/.bin/leasehold')
  const env = { PATH: process.env.PATH, HOME: folder, LEASEHOLD_STATE_DIR: join(folder, 'state') }
  const { version } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
  expect((await run(command, ['--version'], { env })).stdout).toBe(`${version}\n`)
  const demo = ['infer', 'model', 'run', '--local', '--config', 'builtin:demo', '--prompt', 'What is 6 * 7?']
  expect((await run(command, demo, { env })).stdout).toContain('42')
})

/** Bundles a program of the host with everything that it needs. */
async function bundle(name: string, as: string, options: BuildOptions): Promise<string> {
  const outfile = join(folder, `${as.replaceAll(' ', '-')}.bundle.mjs`)
  await build({
    entryPoints: [join(folder, `host/${name}.mjs`)],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile,
    logLevel: 'error',
    ...options,
  })
  return outfile
}
