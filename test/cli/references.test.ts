import { expect, test } from 'vitest'
import { createPlace, type Place, type Running } from './command-line.ts'

async function serve(place: Place): Promise<Running> {
  const gateway = place.start('serve')
  await gateway.until(/try it:/)
  return gateway
}

test('a command takes an alias, a model id, PROVIDER/MODEL or a provider id', async () => {
  await using place = await createPlace()
  place.configure()
  await serve(place)
  expect((await place.run('start', 'calc')).stdout).toMatch(/^demo is ready/)
  expect((await place.run('why', 'sums')).stdout).toMatch(/^demo: Ready/)
  expect((await place.run('logs', 'demo/sums')).stdout).toContain('model loaded')
  expect((await place.run('stop', 'DEMO')).stdout).toBe('demo is down\n')
})

test('start, stop, logs and why take an alias, a model id, PROVIDER/MODEL and a provider id', {
  tags: ['proof'],
}, async () => {
  await using place = await createPlace()
  place.configure()
  await serve(place)
  for (const ref of ['calc', 'sums', 'demo/sums', 'DEMO']) {
    expect(await place.run('start', ref)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^demo is ready/),
    })
    expect((await place.run('why', ref)).stdout).toMatch(/^demo: Ready/)
    expect((await place.run('logs', ref)).stdout).toContain('model loaded')
    expect(await place.run('stop', ref)).toMatchObject({ code: 0, stdout: 'demo is down\n' })
  }
})

test('a reference that means nothing is told with what there is', async () => {
  await using place = await createPlace()
  place.configure()
  await serve(place)
  for (const command of ['start', 'stop', 'logs', 'why'])
    expect(await place.run(command, 'demo/other')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        'There is no service "demo/other", and no model of that name. There are: demo.',
      ),
    })
})

test('a signal during start says that the start goes on, and how to stop it; it goes on', async () => {
  await using place = await createPlace()
  place.configure(['--load-ms', '1500'])
  const gateway = await serve(place)
  const start = place.start('start', 'calc')
  await gateway.until(/demo {2}loading/)
  start.child.kill('SIGINT')
  expect(await start.ended).toMatchObject({
    signal: 'SIGINT',
    stdout: '',
    stderr: 'The start of calc goes on. To stop it: leasehold stop calc\n',
  })
  await gateway.until(/demo {2}ready/)
})

test('a signal during stop says that the stop goes on, and how to end it sooner; it goes on', async () => {
  await using place = await createPlace()
  place.configure(['--stall-mid-stream-after', '1'], { drainTimeoutMs: 600_000 })
  const gateway = await serve(place)
  const url = `http://127.0.0.1:${place.gatewayPort}/v1/chat/completions`
  const body = { model: 'calc', stream: true, messages: [{ role: 'user', content: 'count to 9' }] }
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  const text = answer.text().catch(() => 'broken')
  const stop = place.start('stop', 'calc')
  await gateway.until(/demo {2}draining/)
  stop.child.kill('SIGINT')
  expect((await stop.ended).stderr).toBe(
    'The stop of calc goes on, and waits for its requests. To cut them off: leasehold stop calc --force\n',
  )
  expect(await place.run('stop', 'calc', '--force')).toMatchObject({ code: 0, stdout: 'demo is down\n' })
  await text
})

test('serve prints its page, the base URL of its clients, and how to stop it', async () => {
  await using place = await createPlace()
  place.configure()
  const gateway = await serve(place)
  const url = `http://127.0.0.1:${place.gatewayPort}`
  gateway.child.kill('SIGTERM')
  const { stdout } = await gateway.ended
  expect(stdout).toContain(`  page           ${url}/\n`)
  expect(stdout).toContain(`  clients        base URL ${url}/v1, with any API key\n`)
  expect(stdout).toMatch(new RegExp(`^ {2}to stop {8}kill ${gateway.child.pid}$`, 'm'))
  expect(stdout).toMatch(/leasehold {2}stops\n/)
})
