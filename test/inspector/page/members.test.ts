// @module-tag proof

import { Subject } from 'rxjs'
import { describe, expect, test } from 'vitest'
import type { CardService } from '../../../machines/cluster/messages.ts'
import type { MemberListing } from '../../../src/cluster/joined-cluster.ts'
import { internalsOf } from '../../../src/supervisor/internals.ts'
import { expectFit } from './axe.ts'
import { createFastProvider, hasNoBrowser, openStage, type Stage } from './browser.ts'

const service = (more: Partial<CardService> = {}): CardService => ({
  models: [{ id: 'phi', api: 'openai-completions' }],
  state: 'cold',
  leases: 0,
  waiting: 0,
  room: 4,
  startMs: 41_000,
  fit: 'fits',
  ...more,
})

const listing = (member: string, more: Partial<MemberListing> = {}): MemberListing => ({
  member,
  isSelf: false,
  address: `http://${member}.lan:4141`,
  version: '2.1.0',
  state: 'open',
  heardMs: 300,
  boot: 'k3f9',
  seq: 7,
  services: { llama: service() },
  problem: null,
  ...more,
})

const four = [
  listing('tower', { isSelf: true, heardMs: null }),
  listing('attic', {
    services: {
      llama: service({ state: 'ready', leases: 2, waiting: 1 }),
      whisper: service({ state: 'starting', models: [{ id: 'large', api: 'openai-completions' }] }),
      flux: service({ state: 'failed' }),
      qwen: service({ state: 'asking' }),
    },
  }),
  listing('cellar', { state: 'lost', heardMs: 4_040 }),
  listing('loft', { state: 'draining', services: {} }),
  listing('shed', { state: 'newer', services: {}, problem: 'shed speaks version 2 of the format' }),
]

/** A gateway that is a member of a cluster; the page is told of the others by the test. */
async function openMember(): Promise<{ stage: Stage; tell: (members: readonly MemberListing[]) => void }> {
  const stage = await openStage({ providers: { own: await createFastProvider() } })
  const { membership } = internalsOf(stage.supervisor)
  membership.join({
    self: 'tower',
    prefer: 'warm',
    moveAfterMs: 1_000,
    isDraining: () => false,
    standingOf: () => undefined,
    depart: () => undefined,
    admit: () => undefined,
    suspect: () => {},
    lost$: new Subject(),
  })
  membership.offer([{ member: 'attic', address: 'http://127.0.0.1:9', services: { llama: service() } }])
  let members: readonly MemberListing[] = four
  await stage.page.route('**/api/members', (route) =>
    route.fulfill({ json: { self: 'tower', isDraining: false, members } }),
  )
  return {
    stage,
    tell: (next) => {
      members = next
    },
  }
}

describe.skipIf(hasNoBrowser)('the overview of a member of a cluster', () => {
  test('shows the services of this machine, then those of each other one', { timeout: 240_000 }, async () => {
    const { stage, tell } = await openMember()
    await using _ = stage
    const { page, url } = stage
    await page.goto(url)
    const attic = page.getByRole('region', { name: 'Services of attic' })
    await attic.waitFor()
    expect(await page.locator('.machine').textContent()).toBe('tower this machine')
    expect(stage.supervisor.snapshot().services.map((one) => one.service)).toEqual(['own', 'attic'])
    expect(await page.locator('tr.one .c-name a').allTextContents()).toEqual(['own'])
    const rows = await attic.locator('tbody tr').allInnerTexts()
    expect(rows.map((row) => row.split('\t').map((cell) => cell.trim()))).toEqual([
      ['llama', 'In use', '2 in use 1 waiting', 'phi'],
      ['whisper', 'Loading', '', 'large'],
      ['flux', 'Failed', '', 'phi'],
      ['qwen', 'Asks to start', '', 'phi'],
    ])
    expect(await page.locator('.peer button').count()).toBe(0)
    expect(await attic.getByRole('link').getAttribute('href')).toBe('http://attic.lan:4141')
    expect(await page.locator('[data-member=cellar] header').innerText()).toContain(
      'lost, last seen 4.0 s ago',
    )
    expect(await page.locator('[data-member=loft]').innerText()).toMatch(
      /takes no new requests, last seen .*It offers no service/s,
    )
    expect(await page.locator('[data-member=shed]').innerText()).toContain('shed speaks version 2')
    await page.getByLabel('Filter services').waitFor({ state: 'detached' })
    tell([listing('tower', { isSelf: true }), listing('attic', { state: 'muted' })])
    await page.locator('[data-member=attic][data-state=muted]').waitFor()
    expect(await page.locator('.peer').count()).toBe(1)
    expect(stage.complaints).toEqual([])
  })

  test('is right at every width and in every theme', { timeout: 300_000 }, async () => {
    const { stage } = await openMember()
    await using _ = stage
    const { page, url } = stage
    await page.goto(url)
    await page.locator('.peer').first().waitFor()
    await expectFit(page, 'members', 1_000)
  })

  test('of one that is in no cluster asks for the members once', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ providers: { own: await createFastProvider() } })
    const { page, url } = stage
    let asked = 0
    page.on('request', (request) => {
      if (request.url().endsWith('/api/members')) asked += 1
    })
    const looked = page.waitForResponse('**/api/members')
    await page.goto(url)
    await looked
    // Two looks at the services later it would have been asked again.
    for (let look = 0; look < 2; look += 1) await page.waitForResponse('**/api/services')
    expect(asked).toBe(1)
    expect(await page.locator('.machine, .peer').count()).toBe(0)
  })
})
