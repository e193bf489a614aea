import { expect, test } from 'vitest'
import type { LeaseEvent } from '../../machines/messages.ts'
import { createLeaseRequests } from '../../src/service/lease-requests.ts'

const ask = (id: string): LeaseEvent => ({ type: 'lease.requested', id })

test('an event reaches the actor of its service before send returns', () => {
  const requests = createLeaseRequests()
  const heard: string[] = []
  requests.requests$('a').subscribe(({ id }) => heard.push(id))
  expect(requests.send('a', ask('r1'))).toBe(true)
  expect(heard).toEqual(['r1'])
})

test('send says whether an actor listens', () => {
  const requests = createLeaseRequests()
  expect(requests.send('a', ask('r1'))).toBe(false)
  const actor = requests.requests$('a').subscribe()
  expect(requests.send('a', ask('r2'))).toBe(true)
  actor.unsubscribe()
  expect(requests.send('a', ask('r3'))).toBe(false)
})

test('an actor that died of a bug keeps its subscription, and hears nothing more', () => {
  const requests = createLeaseRequests()
  const heard: string[] = []
  requests.requests$('a').subscribe(({ id }) => heard.push(`old ${id}`))
  requests.close('a')
  expect(requests.send('a', ask('r1'))).toBe(false)
  requests.requests$('a').subscribe(({ id }) => heard.push(`dead ${id}`))
  requests.requests$('a').subscribe(({ id }) => heard.push(`new ${id}`))
  expect(requests.send('a', ask('r2'))).toBe(true)
  expect(heard).toEqual(['new r2'])
})
