// @module-tag proof
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'vitest'
import { type Box, createBoxes } from './boxes.ts'
import { describeWithNats } from './nats-server.ts'

describeWithNats('recordings of two machines', () => {
  test('are replayed as one history, each line with its member, and clocks that differ are found', {
    timeout: 120_000,
  }, async ({ expect }) => {
    await using boxes = await createBoxes(['tower', 'attic'])
    const [tower, attic] = boxes.all as [Box, Box]
    const fileOf = ({ folder }: Box) => join(folder, 'recording.ndjson')
    for (const box of boxes.all) await box.start('--record', fileOf(box))
    await boxes.untilJoined()
    expect((await tower.ask({ model: 'attic:llama/m' })).status).toBe(200)
    expect((await tower.ask()).status).toBe(200)
    await tower.end()
    await attic.until(/member tower is lost/)
    await attic.end()

    const whole = await tower.run('replay', fileOf(attic), fileOf(tower))
    expect([whole.code, whole.stderr]).toEqual([0, ''])
    expect(whole.stdout).toMatch(/ms {2}attic {2}llama {2}ready/)
    expect(whole.stdout).toMatch(
      /ms {2}tower {2}cluster {2}member attic .*is there[\s\S]*ms {2}attic {2}cluster {2}member tower is lost: it has left/,
    )
    expect(whole.stdout).toMatch(/✓ attic: \d+ steps.*\n✓ tower: \d+ steps/)
    const times = [...whole.stdout.matchAll(/^ *(-?\d+) ms/gm)].map(([, ms]) => Number(ms))
    expect(times).toEqual(times.toSorted((a, b) => a - b))

    // A clock that is an hour ahead.
    const ahead = join(attic.folder, 'ahead.ndjson')
    const recorded = readFileSync(fileOf(attic), 'utf8').replaceAll(
      /"time":"([^"]*)"/g,
      (_, time: string) => `"time":"${new Date(Date.parse(time) + 3_600_000).toISOString()}"`,
    )
    writeFileSync(ahead, recorded)
    const apart = await tower.run('replay', ahead, fileOf(tower))
    expect(apart.code).toBe(1)
    expect(apart.stdout).toMatch(/✗ the clocks differ: tower saw attic 3\d{6} ms before attic reached NATS/)
    const allowed = await tower.run('replay', ahead, fileOf(tower), '--clocks-differ', '3700000', '--json')
    expect(allowed.code).toBe(0)
    const { recordings } = JSON.parse(allowed.stdout) as { recordings: { member: string }[] }
    expect(recordings.map(({ member }) => member)).toEqual(['attic', 'tower'])
  })
})
