// @module-tag proof

import { EventEmitter, once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { createRawServer } from '../../transport/raw-server.ts'
import { drawn, hasNoBrowser, inState, openStage, toService } from './browser.ts'

describe.skipIf(hasNoBrowser)('the page', () => {
  test('shows a cold start become a lease, then readiness, then the countdown and the idle stop', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({
      steered: {
        chat: { lines: ['model server: loading tensors'], service: { idleStopMs: 6_000 } },
        embeddings: {},
      },
    })
    const { page, url, steered, supervisor } = stage
    const asking = stage.ask('chat')
    await page.goto(toService(url, 'chat'))
    await inState(page, 'starting.warming')
    await page.getByRole('heading', { name: /Loading for/ }).waitFor()
    expect(await page.locator('.output pre').textContent()).toContain('loading tensors')
    expect(await page.getByLabel('Leases and queue').textContent()).toContain('chat/m')

    await steered.chat?.steer('ready')
    await inState(page, 'leased.open')
    await page.getByRole('heading', { name: 'In use by 1 request' }).waitFor()
    // From starting to leased by way of ready, which was left at once.
    await page.locator('[data-way="ready leased"].last').waitFor()
    await page.locator('[data-way="starting ready"].was').waitFor()
    await page.getByRole('button', { name: 'All', exact: true }).first().click()
    await page.locator('[data-arrow="starting ready"].taken').waitFor()
    await page.locator('[data-arrow="ready leased"].taken').waitFor()

    await steered.chat?.steer('answer')
    await (await asking).text()
    await inState(page, 'ready')
    const countdown = page.locator('.why .next')
    await expect.poll(() => countdown.textContent()).toMatch(/It stops in \d\.\d s, unless a request comes/)
    await inState(page, 'down.cold')
    const changes = page.getByLabel('Last changes').locator('li b')
    expect((await changes.allTextContents()).toReversed()).toEqual([
      'probing',
      'starting.claiming',
      'starting.spawning',
      'starting.warming',
      'leased.open',
      'ready',
      'idle-stopping.terminating',
      'down.cold',
    ])
    expect(await page.locator('.why').textContent()).toContain('It was not used for 6.0 s')
    await page.goto(`${url}/#/machines/chat`)
    await expect.poll(() => page.locator('.sequence').textContent()).toContain('process.exited')
    expect(stage.complaints).toEqual([])
    expect(supervisor.snapshot().services.map(({ state }) => state)).toEqual(['down.cold', 'down.cold'])
  })

  test('starts and stops a service, and cancels a request', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url, steered, supervisor } = stage
    await page.goto(toService(url, 'chat'))
    await page.getByRole('heading', { name: 'Down', exact: true }).waitFor()
    await page.getByRole('button', { name: 'Start', exact: true }).click()
    await inState(page, 'starting.warming')
    await steered.chat?.steer('ready')
    await inState(page, 'ready')
    const asking = stage.ask('chat')
    await page.getByRole('button', { name: /^Cancel / }).click()
    expect((await asking).status).toBe(499)
    expect(supervisor.requests()).toEqual([])
    await inState(page, 'ready')
    await page.keyboard.press('s')
    await inState(page, 'down.cold')
    expect(await page.locator('.why').textContent()).toContain('Its stop was asked for.')
    expect(stage.complaints).toEqual([])
  })

  test('holds a moment, steps back to what was, and goes on with what is', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url, steered } = stage
    const asking = stage.ask('chat')
    await page.goto(toService(url, 'chat'))
    await inState(page, 'starting.warming')
    await page.keyboard.press(' ')
    await page.getByRole('button', { name: 'Held: go back to now' }).waitFor()
    await steered.chat?.steer('ready')
    await expect.poll(() => stage.supervisor.snapshot().services[0]?.state).toBe('leased.open')
    // What happens goes on, and the moment stays.
    expect(await page.locator('[data-state="starting.warming"]').count()).toBe(1)
    await page.keyboard.press('Home')
    await inState(page, 'down.cold')
    const seen = new Set<string | null>()
    for (let steps = 0; steps < 100 && !seen.has('starting.spawning'); steps += 1) {
      await page.keyboard.press('ArrowRight')
      await drawn(page)
      seen.add(await page.locator('.service').getAttribute('data-state'))
    }
    expect([...seen]).toEqual(expect.arrayContaining(['probing', 'starting.claiming', 'starting.spawning']))
    await page.keyboard.press('ArrowLeft')
    await page.keyboard.press('End')
    await inState(page, 'leased.open')
    await steered.chat?.steer('answer')
    await (await asking).text()
    await inState(page, 'ready')
    expect(stage.complaints).toEqual([])
  })

  test('goes to a moment that was asked for before its events had come', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url, steered } = stage
    const asking = stage.ask('chat')
    const gate = new EventEmitter()
    await page.route('**/api/events*', async (route) => {
      await once(gate, 'open')
      await route.continue()
    })
    await page.goto(toService(url, 'chat'))
    await inState(page, 'starting.warming')
    await page.keyboard.press(' ')
    await drawn(page)
    gate.emit('open')
    await page.getByRole('button', { name: 'Held: go back to now' }).waitFor()
    await inState(page, 'starting.warming')
    await page.reload()
    await inState(page, 'starting.warming')
    await page.keyboard.press('Home')
    await drawn(page)
    gate.emit('open')
    await inState(page, 'down.cold')
    await page.keyboard.press('End')
    await steered.chat?.steer('ready')
    await inState(page, 'leased.open')
    await steered.chat?.steer('answer')
    await (await asking).text()
  })

  test('says what to do where nothing is configured', { timeout: 240_000 }, async () => {
    await using stage = await openStage({})
    await stage.page.goto(stage.url)
    await stage.page.getByRole('heading', { name: 'No service is configured' }).waitFor()
    expect(await stage.page.locator('main').textContent()).toContain('leasehold serve --config builtin:demo')
  })

  test('asks for a key, keeps it for the tab, and sends it nowhere else, whatever its own address says (peer A-1)', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({
      steered: { chat: {} },
      leasehold: { apiKeys: ['a-key-of-the-test'] },
    })
    const { page, url } = stage
    await using stranger = await createRawServer(() => {})
    const addresses: string[] = []
    page.on('request', (request) => addresses.push(request.url()))
    page.on('websocket', (socket) => addresses.push(socket.url()))
    const elsewhere = encodeURIComponent(`ws://127.0.0.1:${stranger.port}`)
    await page.goto(`${url}/?gatewayUrl=${elsewhere}&url=${elsewhere}#gatewayUrl=${elsewhere}`)
    await page.getByLabel('Key', { exact: true }).fill('a-key-of-the-test')
    await page.getByRole('button', { name: 'Open', exact: true }).click()
    await page.getByRole('heading', { name: 'All is quiet' }).waitFor()
    expect(addresses.some((address) => address.includes('a-key-of-the-test'))).toBe(false)
    const isAtHome = (address: string) => address.startsWith(url) || address.startsWith('data:')
    expect(addresses.filter((address) => !isAtHome(address))).toEqual([])
    expect(stranger.received).toEqual([])
    // What the page's own policy keeps from being opened is a complaint.
    expect(stage.complaints).toEqual([])
  })

  test('shows a start against the median of past starts, and what the process occupies', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url, steered } = stage
    await page.goto(toService(url, 'chat'))
    await page.getByRole('button', { name: 'Start', exact: true }).click()
    await inState(page, 'starting.warming')
    // Nothing is known of earlier starts: the deadline is what it is measured against.
    expect(await page.locator('.facts').textContent()).not.toContain('Usual start')
    expect(await page.getByRole('progressbar').getAttribute('aria-label')).toBe('readyTimeout')
    // Long enough for the next start to be seen on its way.
    await page.getByRole('heading', { name: /Loading for [2-9]/ }).waitFor()
    await steered.chat?.steer('ready')
    await inState(page, 'ready')
    await expect
      .poll(() => page.locator('.facts').textContent())
      .toMatch(/Memory[1-9]\d* MiB, at most [1-9]\d* MiB/)
    await expect
      .poll(() => page.getByLabel('Memory over time').textContent(), { timeout: 30_000 })
      .toMatch(/^Memorylast 15 minMemory[1-9]\d* MiB/)
    expect(await page.getByLabel('Memory over time').locator('.spark').count()).toBe(1)
    await page.getByRole('button', { name: 'Stop', exact: true }).click()
    await inState(page, 'down.cold')
    expect(await page.locator('.facts').textContent()).not.toContain('Memory')

    await page.getByRole('button', { name: 'Start', exact: true }).click()
    await inState(page, 'starting.warming')
    const progress = page.getByRole('progressbar', { name: 'Start, against the median of past starts' })
    const share = async () => Number(await progress.getAttribute('aria-valuenow'))
    await expect.poll(share, { timeout: 60_000 }).toBe(100)
    await page.keyboard.press(' ')
    const spawning = page.locator('[data-state="starting.spawning"]')
    for (let steps = 0; steps < 50 && (await spawning.count()) === 0; steps += 1) {
      await page.keyboard.press('ArrowLeft')
      await drawn(page)
    }
    expect(await share()).toBeLessThan(100)
    await page.keyboard.press('End')
    await inState(page, 'starting.warming')
    expect(await page.locator('.facts').textContent()).toMatch(/Usual start\d.* s \(median of 1\)/)
    expect(await page.locator('.why').textContent()).toContain('It usually takes')
    await steered.chat?.steer('ready')
    await inState(page, 'ready')
    expect(stage.complaints).toEqual([])
  })

  test('follows the theme of the system, then the one that is chosen', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: {} }, colorScheme: 'dark' })
    const { page, url } = stage
    await page.goto(url)
    await page.locator('tr.one').waitFor()
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const [light, dark] = ['rgb(247, 247, 245)', 'rgb(11, 12, 14)']
    expect(await ground()).toBe(dark)
    // As the system says, then light, then dark, whatever the system says.
    await page.keyboard.press('t')
    await expect.poll(ground).toBe(light)
    await page.emulateMedia({ colorScheme: 'light' })
    await page.keyboard.press('t')
    await expect.poll(ground).toBe(dark)
    await page.keyboard.press('t')
    await expect.poll(ground).toBe(light)
  })
})
