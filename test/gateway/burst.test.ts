import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { openHouse } from './house.ts'

const COUNT = 300

test('a burst of requests is begun in bounded parts, and each request is answered', async () => {
  await using house = await openHouse({ serverUrl: 'http://127.0.0.1:1' })
  const begun: number[] = []
  let isOver = false
  let seen = 0
  const watch = () => {
    const count = house.events.filter(({ type }) => type === 'request.started').length
    begun.push(count - seen)
    seen = count
    if (!isOver) setImmediate(watch)
  }
  const body = JSON.stringify({ model: 'local/demo', messages: [] })
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:${house.port}\r\ncontent-type: application/json\r\n`
  const socket = connect(house.port, '127.0.0.1')
  await once(socket, 'connect')
  let answers = ''
  socket.setEncoding('utf8').on('data', (text) => {
    answers += text
  })
  watch()
  // Sent on one connection, they arrive in one read.
  socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`.repeat(COUNT))
  await expect.poll(() => answers.match(/HTTP\/1\.1 \d+/g)?.length, { timeout: 20_000 }).toBe(COUNT)
  isOver = true
  socket.destroy()
  expect(seen).toBe(COUNT)
  expect(begun.reduce((most, one) => Math.max(most, one), 0)).toBeLessThanOrEqual(32)
})
