// @module-tag proof

import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { createPlace, launch } from './command-line.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))
const demo = ['--config', 'builtin:demo']

test('the demo that is named is the demo, whatever configuration there is', async () => {
  await using place = await createPlace({ LEASEHOLD_CONFIG: 'leasehold.json5' })
  place.write('leasehold.json5', 'this is no configuration')
  const { stdout } = await place.run('config', 'print', ...demo)
  expect(JSON.parse(stdout)).toMatchObject({ models: { providers: { demo: {} } } })
})

test('two demos at once each have a server of their own, and both answer', async () => {
  await using place = await createPlace()
  const gateways: string[] = []
  for (const _ of [1, 2]) {
    const [, url = ''] = await place
      .start('serve', ...demo, '--port', '0', '--json')
      .until(/"type":"gateway\.listening".*"url":"(http:[^"]+)"/)
    expect((await place.run('start', 'demo', '--gateway', url)).code).toBe(0)
    gateways.push(url)
  }
  const answers = await Promise.all(
    gateways.map((url) => place.run('infer', 'model', 'run', '--prompt', '6 * 7', '--gateway', url)),
  )
  expect(answers).toMatchObject([
    { code: 0, stdout: '6 * 7 = 42.\n' },
    { code: 0, stdout: '6 * 7 = 42.\n' },
  ])
  for (const url of gateways) {
    const { stdout } = await place.run('status', '--json', '--gateway', url)
    expect(JSON.parse(stdout).services).toMatchObject([{ ownership: 'owned' }])
  }
})

test('npm run demo answers from the built-in demo, although another configuration is there', async () => {
  await using place = await createPlace()
  const { code, stdout } = await npm(place.folder, { LEASEHOLD_CONFIG: '/no/such/file' }, 'run', 'demo').ended
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/\n17 \* 3 = 51\.\n$/) })
})

test('npm start that gets SIGTERM leaves neither the gateway nor a model server', async () => {
  await using place = await createPlace()
  place.configure()
  const config = `${place.folder}/leasehold.json5`
  const args = ['start', '--', '--port', String(place.gatewayPort)]
  const started = npm(place.folder, { LEASEHOLD_CONFIG: config }, ...args)
  await started.until(/listens on/)
  expect((await place.run('start', 'demo')).code).toBe(0)
  expect(place.strays()).toHaveLength(1)
  started.child.kill('SIGTERM')
  expect((await started.ended).stdout).toMatch(/everything is stopped\n$/)
  expect(place.strays()).toEqual([])
})

/** Runs a script of this package; `home` keeps what npm writes. */
function npm(home: string, env: Readonly<Record<string, string>>, ...args: string[]) {
  return launch('npm', args, {
    cwd: checkout,
    env: { PATH: process.env.PATH, HOME: home, NO_COLOR: '1', npm_config_update_notifier: 'false', ...env },
  })
}
