// @module-tag proof

import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type HouseWithServer, openHouseWithServer } from './house.ts'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
)
if (executablePath === undefined) console.warn('No chromium here: the tests with a real browser are skipped.')

describe.skipIf(executablePath === undefined)('a web page in a real browser', () => {
  let browser: Browser
  let house: HouseWithServer
  const elsewhere = createServer((_, response) =>
    response.setHeader('content-type', 'text/html').end('<body></body>'),
  )
  const portOf = () => (elsewhere.address() as AddressInfo).port

  beforeAll(async () => {
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve))
    browser = await chromium.launch({
      ...(executablePath === undefined ? {} : { executablePath }),
      args: [
        ...[
          '--headless',
          '--no-sandbox',
          '--disable-gpu',
          '--disable-quic',
          '--no-first-run',
          '--disable-sync',
        ],
        ...['--disable-background-networking', '--disable-component-update'],
        // Names of strangers that point here, as a rebound name would.
        '--host-resolver-rules=MAP evil.test 127.0.0.1, MAP localhost 127.0.0.1',
        // What protects only users of this one browser must not be what protects us here.
        '--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests',
      ],
    })
  }, 120_000)
  afterAll(async () => {
    await browser?.close()
    elsewhere.close()
  })

  /** Everything a page can send without being asked, and what it can read of the answers. */
  async function attack(from: string, target: string) {
    const page = await browser.newPage()
    const statuses: number[] = []
    page.on('response', (response) => {
      if (response.url().includes(`:${house.port}/`)) statuses.push(response.status())
    })
    await page.goto(from)
    const readable = await page.evaluate(async (gateway) => {
      const start = `${gateway}/api/services/local/start`
      const chat = `${gateway}/v1/chat/completions`
      const body = JSON.stringify({
        model: 'local/demo',
        messages: [{ role: 'user', content: 'count to 9' }],
      })
      const read: string[] = []
      const note = (name: string, work: Promise<unknown>) =>
        work.then(
          (what) => what !== undefined && read.push(`${name}: ${what}`),
          () => {},
        )
      const post = async (url: string, init: RequestInit) =>
        (await fetch(url, { method: 'POST', ...init })).text()
      const form = new FormData()
      form.set('model', 'local/demo')
      const element = (tag: string, attributes: Record<string, string>) =>
        new Promise<void>((resolve) => {
          const made = Object.assign(document.createElement(tag), attributes)
          made.addEventListener('load', () => resolve())
          made.addEventListener('error', () => resolve())
          document.body.append(made)
        })
      const submit = (url: string, enctype: string) =>
        new Promise<void>((resolve) => {
          const frame = Object.assign(document.createElement('iframe'), { name: `frame-${Math.random()}` })
          document.body.append(frame)
          const sent = Object.assign(document.createElement('form'), {
            action: url,
            method: 'post',
            enctype,
            target: frame.name,
          })
          sent.append(
            Object.assign(document.createElement('input'), {
              name: '{"model":"local/demo","x":"',
              value: '"}',
            }),
          )
          document.body.append(sent)
          frame.addEventListener('load', () => resolve())
          sent.submit()
        })
      const opened = (socket: WebSocket | EventSource) =>
        new Promise<string | undefined>((resolve) => {
          socket.addEventListener('open', () => resolve('open'))
          socket.addEventListener('error', () => resolve(undefined))
        })
      await Promise.all([
        note('text', post(chat, { body })),
        note(
          'opaque text',
          post(start, { body: '{}', mode: 'no-cors' }).then((text) => text || undefined),
        ),
        note(
          'opaque chat',
          post(chat, { body, mode: 'no-cors' }).then((text) => text || undefined),
        ),
        note('json', post(chat, { body, headers: { 'content-type': 'application/json' } })),
        note('json start', post(start, { body: '{}', headers: { 'content-type': 'application/json' } })),
        note(
          'urlencoded',
          post(start, { body: new URLSearchParams({ a: 'b' }), mode: 'no-cors' }).then(
            (text) => text || undefined,
          ),
        ),
        note(
          'multipart',
          post(chat, { body: form, mode: 'no-cors' }).then((text) => text || undefined),
        ),
        note('credentials', post(chat, { body, credentials: 'include' })),
        note(
          'get',
          fetch(`${gateway}/api/services`).then((response) => response.text()),
        ),
        note(
          'models',
          fetch(`${gateway}/v1/models`).then((response) => response.text()),
        ),
        note(
          'delete',
          fetch(`${gateway}/api/requests/x`, { method: 'DELETE' }).then((response) => response.text()),
        ),
        note('socket', opened(new WebSocket(`${gateway.replace('http', 'ws')}/api/events`))),
        note('events', opened(new EventSource(`${gateway}/api/events`))),
        element('img', { src: start }),
        element('img', { src: `${gateway}/api/services/local/stop` }),
        element('script', { src: `${gateway}/api/services` }),
        element('iframe', { src: `${gateway}/v1/models` }),
        element('link', { rel: 'stylesheet', href: `${gateway}/api/services` }),
        submit(start, 'text/plain'),
        submit(chat, 'text/plain'),
        submit(chat, 'multipart/form-data'),
        submit(start, 'application/x-www-form-urlencoded'),
      ])
      navigator.sendBeacon(chat, new Blob([body], { type: 'text/plain' }))
      return read
    }, target)
    await page.close()
    return { statuses, readable }
  }

  test.each([
    ['of another site', 'http://evil.test:ELSEWHERE/', 'http://127.0.0.1:PORT'],
    ['of another port of this host', 'http://127.0.0.1:ELSEWHERE/', 'http://127.0.0.1:PORT'],
    ['of this host by another name', 'http://localhost:ELSEWHERE/', 'http://127.0.0.1:PORT'],
    ['of another site, by the name localhost', 'http://evil.test:ELSEWHERE/', 'http://localhost:PORT'],
    ['of another site, by 0.0.0.0', 'http://evil.test:ELSEWHERE/', 'http://0.0.0.0:PORT'],
  ])(
    '%s starts nothing, stops nothing and reads nothing, by whatever it sends (fault 113)',
    async (_, from, target) => {
      house = await openHouseWithServer()
      await using _house = house
      const fill = (url: string) =>
        url.replace('ELSEWHERE', String(portOf())).replace('PORT', String(house.port))
      const { statuses, readable } = await attack(fill(from), fill(target))
      expect(readable).toEqual([])
      // The browser itself holds some back, and tells of some only that they failed.
      expect(statuses.length).toBeGreaterThanOrEqual(8)
      expect(statuses.filter((status) => status < 400)).toEqual([])
      expect(house.service().state).toBe('down.cold')
      expect(house.events.map(({ type }) => type).filter((type) => !type.startsWith('service.'))).toEqual([])
      expect(house.server.requests).toEqual([])
    },
    120_000,
  )

  test('that a stranger rebinds to this host gets nothing (fault 113)', async () => {
    house = await openHouseWithServer()
    await using _house = house
    const page = await browser.newPage()
    const response = await page.goto(`http://evil.test:${house.port}/`)
    expect(response?.status()).toBe(403)
    const status = await page.evaluate(async () => (await fetch('/v1/models')).status)
    expect(status).toBe(403)
    await page.close()
  }, 120_000)

  test('of the gateway itself, and one that is listed, are served', async () => {
    const listed = `http://evil.test:${portOf()}`
    house = await openHouseWithServer({ leasehold: { allowedOrigins: [listed] } })
    await using _house = house
    const page = await browser.newPage()
    for (const from of [`http://127.0.0.1:${house.port}/health`, listed]) {
      await page.goto(from)
      const answer = await page.evaluate(async (gateway) => {
        const response = await fetch(`${gateway}/v1/chat/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({
            model: 'local/demo',
            messages: [{ role: 'user', content: 'What is 6 * 7?' }],
          }),
        })
        return [response.status, await response.text()]
      }, `http://127.0.0.1:${house.port}`)
      expect(answer).toEqual([200, expect.stringContaining('42')])
    }
    await page.close()
  }, 120_000)
})
