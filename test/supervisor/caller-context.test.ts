// @module-tag proof
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'

const run = promisify(execFile)
const toUrl = (path: string) => JSON.stringify(new URL(`../../dist/src/${path}`, import.meta.url).href)

/**
 * A host that asks for a model inside an async context of its own, in every way there is, and looks for that context
 * afterwards: in what leasehold tells while it works, and among what is still reachable.
 */
const toHost = (port: number, idleStopMs: number, ask: string) => `
import { AsyncLocalStorage } from 'node:async_hooks'
import { createSupervisor } from ${toUrl('index.js')}
import { createGateway } from ${toUrl('gateway/index.js')}

const callers = new AsyncLocalStorage()
const baseUrl = 'http://127.0.0.1:${port}/v1'
const args = [${JSON.stringify(fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url)))}, '--port', '${port}', '--models', 'm']
const localService = { command: process.execPath, args, healthUrl: 'http://127.0.0.1:${port}/health', idleStopMs: ${idleStopMs} }
const config = { models: { providers: { a: { baseUrl, models: [{ id: 'm' }], localService } } } }
const body = JSON.stringify({ model: 'a/m', stream: true, messages: [{ role: 'user', content: 'Hi' }] })
const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body }
const chat = (supervisor, more) => supervisor.fetch('http://leasehold/v1/chat/completions', { ...init, ...more })

const seen = []
let settle
const settled = new Promise((resolve) => { settle = resolve })
let supervisor, gateway, url
async function begin() {
  let caller = { name: 'the request' }
  const left = new WeakRef(caller)
  await callers.run(caller, async () => {
    supervisor = createSupervisor({ config })
    supervisor.events$.subscribe((event) => {
      if (callers.getStore() !== undefined) seen.push(event.type)
      if (event.type === 'service.state' && event.to === 'down.cold') settle()
    });
    ${ask}
  })
  caller = undefined
  return left
}
const left = await begin()
if (url !== undefined) await (await fetch(url + '/v1/chat/completions', init)).text()
`

const ways = {
  'a fetch that is read': `await (await chat(supervisor)).text()`,
  'a fetch whose body is cancelled': `await (await chat(supervisor)).body.cancel()`,
  'a fetch that is aborted': `
    const leaving = new AbortController()
    const response = await chat(supervisor, { signal: leaving.signal })
    leaving.abort()
    await response.text().catch(() => {})`,
  'a lease': `(await supervisor.acquire('a/m')).release()`,
  'a start': `await supervisor.start('a')`,
  'a gateway': `
    gateway = createGateway({ supervisor, port: 0 });
    ({ url } = await gateway.listen())`,
}

test.each(Object.entries(ways))('after %s nothing works in the context of its caller', async (_, ask) => {
  const program = `${toHost(await findFreePort(), 100, ask)}
await settled
console.log(JSON.stringify(seen))
await gateway?.close()
await supervisor.close()`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program])
  expect(JSON.parse(stdout)).toEqual([])
})

test.each(Object.entries(ways))(
  'after %s its caller is not kept while the service is ready',
  async (_, ask) => {
    const program = `${toHost(await findFreePort(), 600_000, ask)}
// What the last turns of the request hold is let go in turns of the loop.
for (let turns = 0; turns < 100 && left.deref() !== undefined; turns += 1) {
  await new Promise((resolve) => setTimeout(resolve, 20))
  gc()
}
console.log(supervisor.service('a').state, left.deref() === undefined)
await gateway?.close()
await supervisor.close()`
    const { stdout } = await run(process.execPath, ['--expose-gc', '--input-type=module', '-e', program])
    expect(stdout).toBe('ready true\n')
  },
)
