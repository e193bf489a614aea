import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Failure, ProviderEvent } from '../../machines/messages.ts'
import { ServiceError } from '../../src/errors.ts'
import { createLeaseBook, type LeaseListener } from '../../src/lease/desk.ts'
import { createDurations } from '../../src/service/past-durations.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

const failure: Failure = { code: 'LEASEHOLD_STOPPED', message: 'it was stopped' }

/** A book whose service answers nothing by itself, and what everyone was told. */
function createBook({
  isListening = true,
  waiting = [] as readonly string[],
  leaseWarnMs = 0,
  maxLeaseMs = 0,
  inTurn = (work: () => void) => work(),
} = {}) {
  const clock = createVirtualClock()
  const sent: ProviderEvent[] = []
  const published: string[] = []
  const told: string[] = []
  const leaseTimes = createDurations()
  const book = createLeaseBook({
    clock,
    leaseTimes,
    limits: () => ({ leaseWarnMs, maxLeaseMs }),
    send: (_, event) => {
      if (isListening) sent.push(event)
      return isListening
    },
    mail: () => false,
    publish: (key, { type }) => published.push(`${key} ${type}`),
    toError: (key, reason) => new ServiceError(key, reason),
    isClosing: () => true,
    inTurn,
    placeOf: (_, id) =>
      waiting.includes(id) ? { position: waiting.indexOf(id) + 1, estimatedMs: 500 } : undefined,
  })
  const listenerOf = (id: string): LeaseListener => ({
    queued: ({ position, estimatedMs }) => told.push(`${id} queued ${position} ${estimatedMs}`),
    granted: ({ generation, owned }) => told.push(`${id} granted ${generation} ${owned}`),
    refused: ({ code }) => told.push(`${id} refused ${code}`),
    revoked: ({ code }) => told.push(`${id} revoked ${code}`),
  })
  const request = (id: string, key = 'k', priority?: number) =>
    book.request(key, id, listenerOf(id), priority)
  const grant = (id: string, generation = 'g') =>
    book.deliver('k', { type: 'lease.granted', id, generation, owned: true })
  return { book, clock, leaseTimes, sent, published, told, request, grant }
}

describe('a lease', () => {
  test('is asked for with its priority, granted once, and given back once', () => {
    const { book, sent, told, request, grant } = createBook()
    request('a', 'k', 3)
    grant('a')
    expect(book.entriesOf('k')).toEqual([{ id: 'a', generation: 'g' }])
    book.end('a')
    book.end('a')
    expect(told).toEqual(['a granted g true'])
    expect(sent).toEqual([
      { type: 'lease.requested', id: 'a', priority: 3, sinceMs: 0 },
      { type: 'lease.released', id: 'a', generation: 'g' },
    ])
    expect(book.entriesOf('k')).toEqual([])
  })

  test('that is still waited for is cancelled, and its listener hears no more', () => {
    const { book, sent, told, request, grant } = createBook()
    request('a')
    book.end('a')
    grant('a')
    book.deliver('k', { type: 'lease.refused', id: 'a', failure })
    expect(told).toEqual([])
    expect(sent.at(-1)).toEqual({ type: 'lease.cancelled', id: 'a' })
  })

  test('of a request that waited is told in a later turn, one request per turn', () => {
    const turns: (() => void)[] = []
    const { book, told, request, grant } = createBook({ inTurn: (work) => turns.push(work) })
    for (const id of ['a', 'b', 'c', 'd']) request(id)
    for (const id of ['a', 'b', 'c', 'd']) grant(id)
    expect(told).toEqual([])
    expect(book.entriesOf('k').map(({ generation }) => generation)).toEqual(['g', 'g', 'g', 'g'])
    turns.shift()?.()
    expect(told).toEqual(['a granted g true'])
    book.end('b')
    book.deliver('k', { type: 'leases.revoked', generation: 'g', failure })
    for (const turn of turns) turn()
    expect(told.slice(1)).toEqual([
      'a revoked LEASEHOLD_STOPPED',
      'c refused LEASEHOLD_STOPPED',
      'd refused LEASEHOLD_STOPPED',
    ])
  })

  test('is refused at once when the service has no supervisor', () => {
    const { book, told, request } = createBook({ isListening: false })
    request('a')
    expect(told).toEqual(['a refused LEASEHOLD_SHUTTING_DOWN'])
    expect(book.entriesOf('k')).toEqual([])
  })

  test('is revoked with its generation, not with another, and needs no release then', () => {
    const { book, sent, told, request, grant } = createBook()
    for (const id of ['a', 'b', 'c']) request(id)
    grant('a', 'old')
    grant('b', 'new')
    book.deliver('k', { type: 'leases.revoked', generation: 'old', failure })
    book.end('a')
    expect(told.slice(2)).toEqual(['a revoked LEASEHOLD_STOPPED'])
    expect(sent.filter(({ type }) => type === 'lease.released')).toEqual([])
    expect(book.entriesOf('k').map(({ id }) => id)).toEqual(['b', 'c'])
  })

  test('of a service that is abandoned is revoked, and who waits for one is refused; others are left alone', () => {
    const { book, told, request, grant } = createBook()
    request('held')
    request('waiting')
    request('other', 'k2')
    grant('held')
    book.abandon('k', failure)
    expect(told.slice(1).sort()).toEqual([
      'held revoked LEASEHOLD_STOPPED',
      'waiting refused LEASEHOLD_STOPPED',
    ])
    expect(book.entriesOf('k2')).toEqual([{ id: 'other', generation: null }])
  })

  test('that is not to be had at once is told of its place', async () => {
    const { clock, published, told, request, grant } = createBook({ waiting: ['x', 'a'] })
    request('a')
    expect(told).toEqual(['a queued 2 500'])
    expect(published).toEqual(['k lease.requested', 'k lease.queued'])
    await clock.advanceTo(70)
    grant('a')
    expect(told).toEqual(['a queued 2 500', 'a granted g true'])
  })

  test('is held for as long as the median of the last nine, and one that was revoked does not count', async () => {
    const { book, clock, leaseTimes, request, grant } = createBook()
    expect(leaseTimes.of('k')).toBeNull()
    for (const [index, heldMs] of [9_000, 9_000, 5, 5, 5, 5, 5, 40, 40, 40, 40].entries()) {
      request(`l${index}`)
      grant(`l${index}`)
      await clock.advanceTo(clock.now() + heldMs)
      book.end(`l${index}`)
    }
    expect(leaseTimes.of('k')).toEqual({ medianMs: 5, count: 9 })
    request('cut')
    grant('cut')
    await clock.advanceTo(clock.now() + 100_000)
    book.deliver('k', { type: 'leases.revoked', generation: 'g', failure })
    expect(leaseTimes.of('k')).toEqual({ medianMs: 5, count: 9 })
  })

  test('that is held for too long is told once, and goes on (fault 82)', async () => {
    const { clock, book, sent, published, request, grant } = createBook({ leaseWarnMs: 1_000 })
    request('a')
    await clock.advanceTo(5_000)
    grant('a')
    await clock.advanceTo(5_999)
    expect(published).not.toContain('k lease.overdue')
    await clock.advanceTo(100_000)
    expect(published.filter((text) => text === 'k lease.overdue')).toHaveLength(1)
    expect(book.entriesOf('k')).toHaveLength(1)
    book.end('a')
    expect(sent.at(-1)).toEqual({ type: 'lease.released', id: 'a', generation: 'g' })
    expect(clock.pending).toBe(0)
  })

  test('that is held for longer than it may is ended once, and its holder told why (fault 82, race R12)', async () => {
    const { clock, book, sent, told, request, grant } = createBook({ maxLeaseMs: 1_000 })
    request('a')
    grant('a')
    await clock.advanceTo(1_000)
    expect(told).toEqual(['a granted g true', 'a revoked LEASEHOLD_LEASE_TIMEOUT'])
    expect(sent.at(-1)).toEqual({ type: 'lease.released', id: 'a', generation: 'g' })
    book.end('a')
    expect(sent.filter(({ type }) => type === 'lease.released')).toHaveLength(1)
    expect(clock.pending).toBe(0)
  })

  test('that is given back in time leaves no timer behind', () => {
    const { clock, book, request, grant } = createBook({ leaseWarnMs: 1_000, maxLeaseMs: 2_000 })
    request('a')
    grant('a')
    request('c')
    grant('c')
    // One for all leases and both limits.
    expect(clock.pending).toBe(1)
    book.end('c')
    expect(clock.pending).toBe(1)
    book.end('a')
    expect(clock.pending).toBe(0)
    request('b')
    grant('b')
    book.deliver('k', { type: 'leases.revoked', generation: 'g', failure })
    expect(clock.pending).toBe(0)
  })

  test('that is unknown changes nothing', () => {
    const { book, sent, told, published, grant } = createBook()
    book.end('x')
    grant('x')
    book.deliver('k', { type: 'lease.refused', id: 'x', failure })
    book.deliver('k', { type: 'leases.revoked', generation: 'g', failure })
    book.deliver('k', { type: 'stop.incomplete', failure })
    expect([sent, told, published]).toEqual([[], [], []])
  })

  test('may be given back, and another asked for, by the very listener that is told', () => {
    const { book, told, request, grant } = createBook()
    book.request('k', 'a', {
      granted: () => book.end('a'),
      refused: () => {},
      revoked: () => {},
    })
    grant('a')
    book.request('k', 'b', { granted: () => {}, refused: () => request('c'), revoked: () => {} })
    book.abandon('k', failure)
    expect(book.entriesOf('k').map(({ id }) => id)).not.toContain('a')
    expect(told.length).toBeLessThanOrEqual(1)
  })
})

test('whatever happens in whatever order, everyone is answered once, and every grant ends once', () => {
  const id = fc.constantFrom('a', 'b', 'c')
  const generation = fc.constantFrom('g1', 'g2')
  const step = fc.oneof(
    fc.record({ do: fc.constant('grant' as const), id, generation }),
    fc.record({ do: fc.constant('refuse' as const), id }),
    fc.record({ do: fc.constant('end' as const), id }),
    fc.record({ do: fc.constant('revoke' as const), generation }),
    fc.record({ do: fc.constant('abandon' as const) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { book, sent, told, request, grant } = createBook()
      const asked = ['a', 'b', 'c']
      const granted = new Set<string>()
      const settled = new Set<string>()
      for (const one of asked) request(one)
      for (const one of steps) {
        // A machine grants only to waiters, as its own tests show.
        if (one.do === 'grant' && !granted.has(one.id) && !settled.has(one.id)) {
          granted.add(one.id)
          grant(one.id, one.generation)
        }
        if (one.do === 'refuse' && !granted.has(one.id))
          book.deliver('k', { type: 'lease.refused', id: one.id, failure })
        if (one.do === 'end') book.end(one.id)
        if (one.do === 'revoke')
          book.deliver('k', { type: 'leases.revoked', generation: one.generation, failure })
        if (one.do === 'abandon') book.abandon('k', failure)
        for (const other of asked)
          if (!book.entriesOf('k').some((entry) => entry.id === other)) settled.add(other)
      }
      for (const one of asked) book.end(one)
      for (const one of asked) {
        const words = told.filter((text) => text.startsWith(`${one} `)).map((text) => text.split(' ')[1])
        const releases = sent.filter((event) => event.type === 'lease.released' && event.id === one).length
        const cancels = sent.filter((event) => event.type === 'lease.cancelled' && event.id === one).length
        expect(['', 'granted', 'refused', 'granted,revoked']).toContain(words.join())
        const isGranted = words[0] === 'granted'
        expect(releases + words.filter((word) => word === 'revoked').length).toBe(isGranted ? 1 : 0)
        expect(cancels + words.filter((word) => word === 'refused').length).toBe(isGranted ? 0 : 1)
      }
      expect(book.entriesOf('k')).toEqual([])
    }),
  )
})
