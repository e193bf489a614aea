import { expect, test } from 'vitest'
import { createWaitBoard } from '../../src/gateway/wait-board.ts'
import { internalsOf } from '../../src/supervisor/internals.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { openHouse, toLocalService } from './house.ts'

test('requests that wait for one service share one look-up per tick, however many they are', async () => {
  const clock = createVirtualClock()
  const port = await findFreePort()
  await using house = await openHouse({
    serverUrl: `http://127.0.0.1:${port}`,
    provider: { localService: toLocalService(port, ['--load-ms', '600000'], { maxQueue: 500 }) },
  })
  const calls = Array.from({ length: 300 }, () =>
    internalsOf(house.supervisor).dispatch(
      {
        method: 'POST',
        path: '/v1/chat/completions',
        headers: { 'content-type': 'application/json' },
        body: Buffer.from('{"stream":true}'),
      },
      { onHead: () => {}, onData: () => true, onEnd: () => {}, onError: () => {} },
    ),
  )
  const looked: string[] = []
  const board = createWaitBoard(
    {
      service: (key) => {
        looked.push(key)
        return house.supervisor.service(key)
      },
    },
    clock,
  )
  const places = calls.map((call) => board.find(call, 1_000).place?.position)
  expect(places).toEqual(calls.map((_, index) => index + 1))
  expect(looked).toHaveLength(1)
  await clock.advanceTo(100)
  for (const call of calls) board.find(call, 1_000)
  expect(looked).toHaveLength(2)
  // The look-up is older than this request: it may not know of it.
  await clock.advanceTo(110)
  board.find({ id: 'new', serviceKey: calls[0]?.serviceKey }, 10)
  expect(looked).toHaveLength(3)
  for (const call of calls) call.abort()
})

test('a request whose service is gone, or that has none yet, waits for something that is not known', () => {
  const board = createWaitBoard(
    {
      service: () => {
        throw new Error('gone')
      },
    },
    createVirtualClock(),
  )
  for (const serviceKey of ['k', undefined])
    expect(board.find({ id: 'a', serviceKey }, 100)).toEqual({ service: undefined, place: undefined })
})
