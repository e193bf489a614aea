import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { GatewayError } from '../../src/errors.ts'
import { describeHolder } from '../../src/process/tcp-ports.ts'

test('a port of the gateway that is taken is told with the process that has it', async () => {
  const rival = createServer().listen(0, '127.0.0.1')
  await once(rival, 'listening')
  const address = rival.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const holder = describeHolder({ host: '127.0.0.1', port })
  rival.close()
  expect(holder).toMatch(new RegExp(`^process ${process.pid} \\(.*node`))
  const taken = Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE' })
  expect(new GatewayError('127.0.0.1', port, taken, holder).message).toContain(
    `in use by process ${process.pid}`,
  )
})

test.each([
  ['EACCES', /a port below 1024.*--port/],
  ['EADDRNOTAVAIL', /no such address.*--host/],
  ['ENOTFOUND', /name cannot be resolved/],
  ['EADDRINUSE', /another leasehold running/],
])('%s of a gateway is told in words, with the option', (code, words) => {
  const { message } = new GatewayError('h', 80, Object.assign(new Error(`listen ${code}`), { code }))
  expect(message).toMatch(words)
  expect(message).not.toContain(code)
})
