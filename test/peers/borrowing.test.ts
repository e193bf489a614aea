import { Subject } from 'rxjs'
import { expect, test } from 'vitest'
import type { PeerEvent } from '../../machines/messages.ts'
import { createBorrowing } from '../../src/peers/borrowing.ts'
import type { PeerConnection, PeerListener } from '../../src/peers/peer-wire.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

function openBorrowing() {
  const clock = createVirtualClock()
  const resumed$ = new Subject<void>()
  const sent: object[] = []
  const reports: PeerEvent[] = []
  let owner: PeerListener | undefined
  let closes = 0
  const connection: PeerConnection = {
    peer: { pid: 7, name: 'serve' },
    listen: (listener) => {
      owner = listener
    },
    send: (message) => sent.push(message),
    close: () => {
      closes += 1
    },
  }
  const borrowing = createBorrowing({
    key: 'k',
    clock,
    resumed$,
    report: (event) => reports.push(event),
    meet: async () => {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 10))
      return connection
    },
  })
  borrowing.obey({ type: 'peer.want', generation: 'g', id: 'a', priority: 3, keepAliveMs: 0 })
  return {
    clock,
    resumed$,
    sent,
    borrowing,
    say: (message: object) => owner?.message({ ...message }),
    types: () => reports.map(({ type }) => type),
    closes: () => closes,
  }
}

test('a question names the service and carries its wishes, and an answer of another version is passed over', async () => {
  const { clock, sent, say, types } = openBorrowing()
  await clock.advanceTo(10)
  expect(sent).toEqual([{ type: 'want', key: 'k', id: 'a', priority: 3, keepAliveMs: 0 }])
  for (const message of [{ type: 'granted', id: 'a' }, { type: 'granted' }, { type: 'unheard-of', id: 'a' }])
    say(message)
  expect(types()).toEqual(['peer.met', 'peer.granted'])
})

test('a host that stood still asks its owner anew before it believes in silence', async () => {
  const { clock, resumed$, sent, types } = openBorrowing()
  await clock.advanceTo(6_000)
  resumed$.next()
  await clock.advanceTo(10_999)
  expect([sent.slice(1), types()]).toEqual([[{ type: 'ping' }, { type: 'ping' }], ['peer.met']])
  await clock.advanceTo(11_000)
  expect(types()).toEqual(['peer.met', 'peer.silent'])
})

test('a connection that is made too late is closed at once', async () => {
  const { clock, borrowing, types, closes, sent } = openBorrowing()
  borrowing.close()
  await clock.advanceTo(10)
  expect([types(), sent, closes()]).toEqual([[], [], 1])
})
