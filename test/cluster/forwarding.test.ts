import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { toReasonText } from '../../src/explanation/reason-text.ts'
import type { Standing } from '../../src/request/neighbourhood.ts'
import { internalsOf } from '../../src/supervisor/internals.ts'
import { createModelServer, type ModelServer } from '../../src/testing/model-server/model-server.ts'
import type { ModelServerOptions } from '../../src/testing/model-server/options.ts'
import { createPlace } from '../cli/command-line.ts'
import { createRawServer } from '../transport/raw-server.ts'
import { type Box, type BoxOptions, openBoxes, toCard } from './hand-made.ts'

const closing: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of closing.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

const quiet = { heartbeatMs: 3_600_000 }

/** Boxes of these names, each with a model server of its own behind provider `local`. */
async function openCluster(
  names: readonly string[],
  more: Partial<Record<string, Partial<BoxOptions> & { readonly server?: ModelServerOptions }>> = {},
) {
  const servers: ModelServer[] = []
  const options: BoxOptions[] = []
  for (const member of names) {
    const { server: given, ...own } = more[member] ?? {}
    const server = createModelServer(given)
    closing.push({ [Symbol.asyncDispose]: () => server.close() })
    servers.push(server)
    options.push({ member, serverUrl: (await server.listen()).url, leasehold: quiet, ...own })
  }
  const boxes = await openBoxes(options)
  closing.push(...boxes)
  return { boxes, servers }
}

/** A clock whose timers end no more once it is held. */
function createHeldClock() {
  let isHeld = false
  const clock: Clock = {
    ...systemClock,
    setTimeout: (work, ms) =>
      systemClock.setTimeout(() => {
        if (!isHeld) work()
      }, ms),
  }
  const hold = () => {
    isHeld = true
  }
  return { clock, hold }
}

const messages = [{ role: 'user', content: 'hello' }]
const ask = (box: Box, model: string, more: object = {}, init: RequestInit = {}) =>
  box.post('/v1/chat/completions', { model, messages, ...more }, init)
const onlyAt = (id: string) => ({ provider: { models: [{ id }] } })
const count = ({ events }: Box, type: string) => events.filter((event) => event.type === type).length

describe('a model that another member has', () => {
  test('is answered by it, and the client hears where', async () => {
    const { boxes } = await openCluster(['tower', 'attic'], { attic: onlyAt('phi') })
    const [tower, attic] = boxes as [Box, Box]
    const response = await ask(tower, 'local/phi')
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ choices: [{ message: { role: 'assistant' } }] })
    expect(response.headers.get('x-leasehold-model')).toBe('attic:local/phi')
    expect([count(tower, 'request.ended'), count(attic, 'request.ended')]).toEqual([1, 1])
    expect(tower.underWay.size).toBe(0)
  })

  test('is measured under the name of the member', async () => {
    const { boxes } = await openCluster(['tower', 'attic'], { attic: onlyAt('phi') })
    const [tower] = boxes as [Box]
    await fetch(`${tower.url}/metrics`)
    await (await ask(tower, 'phi')).text()
    const text = await (await fetch(`${tower.url}/metrics`)).text()
    expect(text).toMatch(/leasehold_requests_total\{[^}]*provider="attic:local"[^}]*model="phi"[^}]*\} 1/)
    expect(text).toMatch(/leasehold_requests_total\{[^}]*member="attic"[^}]*\} 1/)
    expect(text).toMatch(/leasehold_time_to_first_byte_seconds_count\{[^}]*member="attic"[^}]*\} 1/)
  })

  test('is told as the other gateway, which runs its servers itself', async () => {
    const { boxes } = await openCluster(['tower', 'attic'], { attic: onlyAt('phi') })
    const [tower] = boxes as [Box]
    await (await ask(tower, 'phi')).text()
    const whys = tower.events.flatMap((event) =>
      event.type === 'service.state' && event.service === 'attic' ? [toReasonText(event.why)] : [],
    )
    expect(whys).toContain('the gateway of attic answers: it starts and stops its servers itself')
    expect(whys.join()).not.toContain('already running')
  })

  test('is streamed through', async () => {
    const { boxes } = await openCluster(['tower', 'attic'], { attic: onlyAt('phi') })
    const [tower] = boxes as [Box]
    const response = await ask(tower, 'phi', { stream: true })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    expect(await response.text()).toMatch(/data: \[DONE\]\n\n$/)
  })

  test('is listed once, with the members that have it', async () => {
    const { boxes } = await openCluster(['tower', 'attic', 'cellar'], { attic: onlyAt('phi') })
    const [tower] = boxes as [Box]
    const { data } = (await (await fetch(`${tower.url}/v1/models`)).json()) as { data: object[] }
    expect(data).toMatchObject([
      { id: 'local/demo', members: ['tower', 'cellar'] },
      { id: 'local/phi', members: ['attic'], state: 'down.cold' },
    ])
  })

  test('is asked for with the proof of the member, and with nothing that the client has shown', async () => {
    const raw = await createRawServer((socket) =>
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}'),
    )
    closing.push(raw)
    const { boxes } = await openCluster(['tower', 'attic'], { attic: onlyAt('phi') })
    const [tower, attic] = boxes as [Box, Box]
    Object.assign(attic, { url: raw.url })
    internalsOf(tower.supervisor).membership.offer([toCard(attic)])
    await ask(
      tower,
      'phi',
      {},
      {
        headers: {
          authorization: 'Bearer key-of-the-client',
          'x-api-key': 'key-of-the-client',
          cookie: 'key-of-the-client',
          'x-leasehold-priority': '7',
          'x-leasehold-hop': 'attic#99',
        },
      },
    )
    const sent = raw.received.find((text) => text.startsWith('POST')) ?? ''
    expect(sent).not.toContain('key-of-the-client')
    expect(sent).toMatch(/^x-leasehold-hop: tower#1\r$/m)
    expect(sent).toMatch(new RegExp(`^x-leasehold-proof: ${tower.boot} ${attic.boot} \\S{43}\\r$`, 'm'))
    expect(sent).toMatch(/^x-leasehold-priority: 7\r$/m)
    expect(sent).toContain('"model":"local/phi"')
  })

  test('is served to a member without a key, and to a client with one', async () => {
    const keyed = { ...onlyAt('phi'), leasehold: { ...quiet, apiKeys: ['a-key-of-attic-alone'] } }
    const { boxes } = await openCluster(['tower', 'attic'], { attic: keyed })
    const [tower, attic] = boxes as [Box, Box]
    expect((await ask(tower, 'phi')).status).toBe(200)
    expect((await ask(attic, 'phi')).status).toBe(401)
  })
})

describe('why a member got a request', () => {
  const told = (box: Box) =>
    box.events.flatMap((event) => (event.type === 'request.sent' ? [event.choice ?? 'here'] : []))

  test('is told by the event of its sending, by the list of requests, and by `leasehold why`', async () => {
    const { boxes } = await openCluster(['tower', 'attic'])
    const [tower, attic] = boxes as [Box, Box]
    attic.standing = { state: 'ready' }
    await (await ask(tower, 'demo')).text()
    const choice = 'on attic, because tower would have to load demo'
    expect(told(tower)).toEqual([choice])
    expect(told(attic)).toEqual(['here'])
    const by = (type: string) => tower.events.filter((event) => event.type === type)
    expect([...by('request.sent'), ...by('request.responded')]).toMatchObject([
      { member: 'attic' },
      { member: 'attic' },
    ])
    const { ended } = (await (await fetch(`${tower.url}/api/requests?ended=5`)).json()) as { ended: object[] }
    expect(ended).toMatchObject([{ ref: 'attic:local/demo', choice }])
    await using place = await createPlace()
    place.configure()
    for (const id of ['local', 'attic']) {
      const { stdout } = await place.run('why', id, '--gateway', tower.url)
      expect(stdout).toContain(`a request for attic:local/demo was answered ${choice}`)
    }
  })

  test('names what a request would have met elsewhere', async () => {
    const { boxes } = await openCluster(['tower', 'attic', 'cellar'], {
      attic: onlyAt('phi'),
      cellar: onlyAt('phi'),
    })
    const [tower, attic, cellar] = boxes as [Box, Box, Box]
    const situations = [
      [{ state: 'starting' }, 'cellar is loading phi'],
      [{ state: 'cold' }, 'cellar would have to load phi'],
      [{ state: 'cold', isAsleep: true }, 'cellar would have to wake phi'],
      [{ state: 'cold', fit: 'evicts' }, 'cellar would have to stop another service for phi'],
      [{ state: 'ready', leases: 2 }, 'cellar has more requests'],
      [{ state: 'ready', room: 0 }, 'cellar has no place free'],
      [{ isMuted: true }, 'cellar is reached over HTTP only'],
      [{ state: 'failed' }, 'phi failed on cellar'],
      [{ state: 'cold', fit: 'never' }, 'cellar cannot run phi'],
    ] as const
    attic.standing = { state: 'ready' }
    for (const [standing] of situations) {
      cellar.standing = standing
      await (await ask(tower, 'phi')).text()
    }
    Object.assign(cellar, { standing: {}, isDraining: true })
    await (await ask(tower, 'phi')).text()
    await (await ask(tower, 'attic:local/phi')).text()
    expect(told(tower)).toEqual([
      ...situations.map(([, text]) => `on attic, because ${text}`),
      'on attic, because cellar takes no new requests',
      'on attic, because the request names it',
    ])
  })

  test('says that no other one has the model, or that another one failed', async () => {
    const { boxes } = await openCluster(['tower', 'attic', 'cellar'], {
      attic: onlyAt('phi'),
      cellar: onlyAt('phi'),
    })
    const [tower, attic, cellar] = boxes as [Box, Box, Box]
    attic.standing = { state: 'ready' }
    const { membership } = internalsOf(tower.supervisor)
    membership.offer([toCard(attic)])
    await (await ask(tower, 'phi')).text()
    Object.assign(attic, { url: 'http://127.0.0.1:9' })
    membership.offer([toCard(attic), toCard(cellar)])
    await (await ask(tower, 'phi')).text()
    expect(told(tower)).toEqual([
      'on attic, because no other machine has the model',
      'on cellar, because attic:local/phi could not answer',
    ])
  })
})

describe('a request of another member', () => {
  const send = (box: Box, headers: Readonly<Record<string, string>>, model = 'demo') =>
    ask(box, model, {}, { headers: { ...headers } })
  const request = { method: 'POST', path: '/v1/chat/completions' }

  test('is served, and goes no further (T14)', async () => {
    const { boxes } = await openCluster(['tower', 'attic', 'cellar'], { cellar: onlyAt('phi') })
    const [tower, attic] = boxes as [Box, Box]
    const prove = (number: number) => tower.proof.prove(attic, number, request)
    expect((await send(attic, prove(1))).status).toBe(200)
    const response = await send(attic, prove(2), 'phi')
    expect([response.status, await response.json()]).toMatchObject([
      404,
      { error: { code: 'LEASEHOLD_MODEL_UNKNOWN' } },
    ])
  })

  test.each([
    ['was used before', 1, {}],
    ['is of another secret', 2, { 'x-leasehold-proof': `a b ${'c'.repeat(43)}` }],
    ['is for another member', 3, { 'x-leasehold-hop': 'cellar#3' }],
  ])('is refused when its proof %s', async (_, number, changed) => {
    const { boxes } = await openCluster(['tower', 'attic'])
    const [tower, attic] = boxes as [Box, Box]
    const headers = tower.proof.prove(attic, number, request)
    if (number === 1) expect((await send(attic, headers)).status).toBe(200)
    const response = await send(attic, { ...headers, ...changed })
    expect([response.status, await response.json()]).toMatchObject([
      421,
      { error: { code: 'LEASEHOLD_HOP_REFUSED' } },
    ])
  })

  test('without a proof is one of a client: it may go to another member (T15)', async () => {
    const { boxes } = await openCluster(['tower', 'attic'], { attic: onlyAt('phi') })
    const [tower] = boxes as [Box]
    expect((await send(tower, { 'x-leasehold-hop': 'attic#1' }, 'phi')).status).toBe(200)
  })

  test('ends when the member that sent it is gone (row 7)', async () => {
    const { boxes } = await openCluster(['tower', 'attic'], {
      attic: { ...onlyAt('phi'), server: { firstTokenMs: 60_000 } },
    })
    const [tower, attic] = boxes as [Box, Box]
    const asked = ask(tower, 'phi').then((response) => response.status)
    await expect.poll(() => attic.service().leases).toBe(1)
    attic.lost$.next({ member: 'tower', boot: 'of-another-run' })
    expect(attic.service().leases).toBe(1)
    attic.lost$.next({ member: 'tower', boot: tower.boot })
    expect(attic.service().leases).toBe(0)
    expect(await asked).toBeGreaterThanOrEqual(499)
  })

  test.each<[string, ModelServerOptions]>([
    ['waits for its first byte', { firstTokenMs: 60_000 }],
    ['is streamed to it', { tokenDelayMs: 60_000 }],
  ])('that %s is cut with its connection when the member that sent it is gone', async (_, server) => {
    const { boxes } = await openCluster(['attic', 'cellar'], { attic: { ...onlyAt('phi'), server } })
    const [attic, cellar] = boxes as [Box, Box]
    // A member whose cable was pulled: it neither reads nor closes.
    const proof = cellar.proof.prove(attic, 1, { method: 'POST', path: '/v1/chat/completions' })
    const body = JSON.stringify({ model: 'local/phi', messages, stream: true, max_tokens: 50 })
    const { host, hostname, port } = new URL(attic.url)
    const head = Object.entries({
      host,
      'content-type': 'application/json',
      ...proof,
      'content-length': body.length,
    })
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
    const closed = once(socket, 'close')
    let text = ''
    socket.on('data', (data) => {
      text += String(data)
    })
    socket.on('end', () => socket.destroy())
    socket.on('error', () => {})
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\n${head.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
    )
    await expect.poll(() => attic.service().leases).toBe(1)
    if (server.tokenDelayMs !== undefined) await expect.poll(() => text).toContain('data: ')
    attic.lost$.next({ member: 'cellar', boot: cellar.boot })
    expect(attic.service().leases).toBe(0)
    await closed
    expect(text).not.toContain('[DONE]')
  })
})

describe('a member that fails', () => {
  /** `tower` has no server; `attic` and `cellar` have the model `phi`, and attic is asked first. */
  const openThree = async (
    attic: Partial<BoxOptions> & { readonly server?: ModelServerOptions } = {},
    tower: Partial<BoxOptions> = {},
  ) => {
    const { boxes, servers } = await openCluster(['tower', 'attic', 'cellar'], {
      tower,
      attic: { ...onlyAt('phi'), ...attic },
      cellar: onlyAt('phi'),
    })
    const [gateway, first, second] = boxes as [Box, Box, Box]
    first.standing = { state: 'ready' }
    second.standing = { state: 'starting' }
    return { tower: gateway, attic: first, cellar: second, servers }
  }
  const failOver = async (tower: Box, act: () => unknown) => {
    const asked = ask(tower, 'phi')
    await expect.poll(() => tower.underWay.size).toBe(1)
    await act()
    const response = await asked
    expect(response.headers.get('x-leasehold-model')).toBe('cellar:local/phi')
    expect(response.status).toBe(200)
    await response.text()
  }

  test('before its first byte is replaced by the reset and after no pause, and looked at (rows 1 and 2)', async () => {
    const { clock, hold } = createHeldClock()
    const { tower, attic, cellar } = await openThree({}, { clock })
    const health = await createRawServer((socket, head) => {
      if (head.startsWith('GET')) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"status":"ok"}')
      else resets.push(() => socket.resetAndDestroy())
    })
    closing.push(health)
    const resets: (() => void)[] = []
    Object.assign(attic, { url: health.url })
    internalsOf(tower.supervisor).membership.offer([toCard(attic), toCard(cellar)])
    await failOver(tower, async () => {
      await expect.poll(() => resets.length).toBe(1)
      // From now on no timer of tower ends: what it does then is done on the reset alone.
      hold()
      for (const reset of resets) reset()
    })
    expect(tower.suspected).toEqual(['attic'])
    expect(tower.underWay.size).toBe(0)
  })

  test('that does not listen any more is not waited for', async () => {
    const { tower, attic } = await openThree()
    expect((await ask(tower, 'phi')).headers.get('x-leasehold-model')).toBe('attic:local/phi')
    await attic.gateway.close()
    const response = await ask(tower, 'phi')
    expect(response.headers.get('x-leasehold-model')).toBe('cellar:local/phi')
  })

  test('by the word of the cluster loses the requests that wait for it to another one', async () => {
    const { tower, attic } = await openThree({ server: { firstTokenMs: 60_000 } })
    await failOver(tower, () => tower.lost$.next(attic))
  })

  test('and was the only one is replaced by one that came meanwhile', async () => {
    const { tower, attic, cellar } = await openThree({ server: { firstTokenMs: 60_000 } })
    internalsOf(tower.supervisor).membership.offer([toCard(attic)])
    await failOver(tower, () => {
      internalsOf(tower.supervisor).membership.offer([toCard(cellar)])
      tower.lost$.next(attic)
    })
  })

  test('while its gateway is looked at gives up the place of the request there', async () => {
    const silent = await createRawServer(() => {})
    closing.push(silent)
    const { tower, attic, cellar } = await openThree()
    Object.assign(attic, { url: silent.url })
    internalsOf(tower.supervisor).membership.offer([toCard(attic), toCard(cellar)])
    const asked = ask(tower, 'phi')
    await expect.poll(() => tower.supervisor.service('attic').queue.length).toBe(1)
    tower.lost$.next(attic)
    expect(tower.supervisor.service('attic').queue).toEqual([])
    expect((await asked).headers.get('x-leasehold-model')).toBe('cellar:local/phi')
  })

  test('under a stream ends it with an error', async () => {
    const { tower, attic } = await openThree({ server: { tokenDelayMs: 1_000 } })
    const response = await ask(tower, 'phi', { stream: true, max_tokens: 100 })
    const reader = response.body?.getReader()
    const text = async () => new TextDecoder().decode((await reader?.read())?.value)
    expect(await text()).toContain('data: ')
    tower.lost$.next(attic)
    let rest = ''
    await expect(
      (async () => {
        for (;;) {
          const part = await text()
          if (part === '') return
          rest += part
        }
      })(),
    ).rejects.toThrow()
    expect(rest).toContain('LEASEHOLD_OWNER_LOST')
    expect(rest).not.toContain('[DONE]')
  })

  test('that drains gets no new request (row 19, T13)', async () => {
    const { tower, attic } = await openThree()
    attic.isDraining = true
    const response = await ask(tower, 'phi')
    expect(response.headers.get('x-leasehold-model')).toBe('cellar:local/phi')
    expect((await ask(attic, 'attic:phi')).status).toBe(503)
    expect((await ask(attic, 'phi')).headers.get('x-leasehold-model')).toBe('cellar:local/phi')
  })

  test('that is the only one gives an error that names it', async () => {
    const { boxes } = await openCluster(['tower', 'attic'], { attic: onlyAt('phi') })
    const [tower, attic] = boxes as [Box, Box]
    await ask(tower, 'phi')
    await attic.gateway.close()
    const asked = ask(tower, 'phi')
    await expect.poll(() => tower.suspected.length).toBeGreaterThan(0)
    internalsOf(tower.supervisor).membership.offer([])
    const response = await asked
    expect(response.status).toBeGreaterThanOrEqual(502)
    expect(await response.text()).toContain('attic')
  })

  test('with the word that another one has the model sends the request there', async () => {
    const { tower, attic, cellar } = await openThree()
    const raw = await createRawServer((socket, head) => {
      const isProbe = head.startsWith('GET')
      // Its card would draw the request back while it waits at the other one.
      if (!isProbe) attic.standing = { state: 'cold' }
      socket.end(
        isProbe
          ? 'HTTP/1.1 200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{"status":"ok"}'
          : 'HTTP/1.1 421 Misdirected Request\r\nx-leasehold-elsewhere: cellar\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}',
      )
    })
    closing.push(raw)
    Object.assign(attic, { url: raw.url })
    internalsOf(tower.supervisor).membership.offer([toCard(attic), toCard(cellar)])
    const response = await ask(tower, 'phi')
    expect([response.status, response.headers.get('x-leasehold-model')]).toEqual([200, 'cellar:local/phi'])
    expect(raw.received.filter((text) => text.startsWith('POST'))).toHaveLength(1)
  })
})

describe('a request that waits at another member', () => {
  const openWaiting = async (loadMs = 60_000) => {
    const { boxes, servers } = await openCluster(['tower', 'attic', 'cellar'], {
      attic: { ...onlyAt('phi'), server: { loadMs } },
      cellar: onlyAt('phi'),
    })
    const [tower, attic, cellar] = boxes as [Box, Box, Box]
    attic.standing = { state: 'ready' }
    cellar.standing = { state: 'cold' }
    return { tower, attic, cellar, servers }
  }
  const waiting = ({ supervisor }: Box) => supervisor.requests().map(({ state }) => state)

  test('moves to one that has room', async () => {
    const { tower, attic, cellar } = await openWaiting()
    const asked = ask(tower, 'phi')
    await expect.poll(() => waiting(tower)).toEqual(['queued'])
    expect(attic.service().queue).toHaveLength(1)
    attic.standing = { state: 'starting' }
    cellar.standing = { state: 'ready' }
    const response = await asked
    expect([response.status, response.headers.get('x-leasehold-model')]).toEqual([200, 'cellar:local/phi'])
    await expect.poll(() => attic.service().queue).toEqual([])
  })

  test('stays where no other has room, and is served there', async () => {
    const { tower } = await openWaiting(1_500)
    const asked = ask(tower, 'phi')
    await expect.poll(() => waiting(tower)).toEqual(['queued'])
    expect((await asked).headers.get('x-leasehold-model')).toBe('attic:local/phi')
  })

  test.each<[string, Partial<Standing>]>([
    ['sleeps', { state: 'cold', isAsleep: true, startMs: 50 }],
    ['starts', { state: 'starting', room: 1, startMs: 50 }],
    ['can start', { state: 'cold', startMs: 50 }],
  ])('leaves a full line for one that %s, after as long as that takes', async (_, standing) => {
    const { tower, attic, cellar } = await openWaiting()
    attic.standing = { state: 'ready', room: 1, leases: 1 }
    cellar.standing = { state: 'cold', fit: 'waits' }
    const asked = ask(tower, 'phi')
    await expect.poll(() => waiting(tower)).toEqual(['queued'])
    cellar.standing = standing
    const response = await asked
    expect([response.status, response.headers.get('x-leasehold-model')]).toEqual([200, 'cellar:local/phi'])
    await expect.poll(() => attic.service().queue).toEqual([])
  })

  test.each<[string, Partial<Standing>, Partial<Standing>]>([
    ['a start elsewhere takes longer than it has waited', {}, { startMs: 60_000 }],
    ['a start elsewhere would end another service', {}, { fit: 'evicts' }],
    ['the server there comes up for it', { state: 'starting', leases: 0, waiting: 1 }, { state: 'cold' }],
  ])('stays in its line while %s', async (_, here, there) => {
    const { tower, attic, cellar } = await openWaiting(1_500)
    attic.standing = { state: 'ready', room: 1, leases: 1 }
    cellar.standing = { state: 'cold', fit: 'waits' }
    const asked = ask(tower, 'phi')
    await expect.poll(() => waiting(tower)).toEqual(['queued'])
    attic.standing = { ...attic.standing, ...here }
    cellar.standing = { state: 'cold', ...there }
    expect((await asked).headers.get('x-leasehold-model')).toBe('attic:local/phi')
  })

  test('at the member that it came to moves as well, unless another member has sent it', async () => {
    const { attic, tower, cellar } = await openWaiting()
    cellar.standing = { state: 'cold', fit: 'never' }
    const leaving = new AbortController()
    const path = '/v1/chat/completions'
    const headers = tower.proof.prove(attic, 1, { method: 'POST', path })
    const sent = ask(attic, 'phi', {}, { headers, signal: leaving.signal }).catch(() => {})
    const asked = ask(attic, 'phi')
    await expect.poll(() => attic.service().queue).toHaveLength(2)
    expect(waiting(attic)).toEqual(['leasing', 'leasing'])
    cellar.standing = { state: 'ready' }
    const response = await asked
    expect([response.status, response.headers.get('x-leasehold-model')]).toEqual([200, 'cellar:local/phi'])
    expect(attic.service().queue).toHaveLength(1)
    leaving.abort()
    await sent
    await expect.poll(() => attic.service().queue).toEqual([])
  })

  test('has its priority and the time that it has waited there (T12)', async () => {
    const { tower, attic } = await openWaiting()
    const leaving = new AbortController()
    const send = (headers: Readonly<Record<string, string>>) =>
      ask(tower, 'phi', {}, { headers, signal: leaving.signal }).catch(() => {})
    const own = ask(attic, 'phi', {}, { signal: leaving.signal }).catch(() => {})
    await expect.poll(() => attic.service().queue).toHaveLength(1)
    const asked = send({ 'x-leasehold-priority': '10' })
    await expect.poll(() => attic.service().queue).toHaveLength(2)
    expect(attic.service().queue.map(({ priority }) => priority)).toEqual([10, 0])
    leaving.abort()
    await Promise.all([own, asked])
    await expect.poll(() => attic.service().queue).toEqual([])
  })

  test('counts from when it came to the first member', async () => {
    const { tower, attic } = await openWaiting()
    const leaving = new AbortController()
    const path = '/v1/chat/completions'
    const headers = {
      ...tower.proof.prove(attic, 1, { method: 'POST', path }),
      'x-leasehold-waited-ms': '20000',
    }
    const asked = ask(attic, 'phi', {}, { headers, signal: leaving.signal }).catch(() => {})
    await expect.poll(() => attic.service().queue).toHaveLength(1)
    expect(attic.service().queue[0]?.waitedMs).toBeGreaterThanOrEqual(20_000)
    leaving.abort()
    await asked
  })
})
