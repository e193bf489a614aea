import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createFileWatch } from '../../src/config/watch.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

/** A file that is watched on a virtual clock. */
async function watch(file: string) {
  const clock = createVirtualClock()
  let changes = 0
  const { changes$, add, keepOnly } = createFileWatch(file, clock)
  const watching = changes$.subscribe(() => {
    changes += 1
  })
  /** Lets time pass for one look, and waits until it has been taken: what is asked after it is answered after it. */
  const look = async (ms = 250) => {
    await clock.advanceTo(clock.now() + ms)
    for (let turn = 0; turn < 3; turn += 1) await stat(tmpdir())
    await clock.advanceTo(clock.now())
  }
  const looks = async (count: number) => {
    for (let taken = 0; taken < count; taken += 1) await look()
    return changes
  }
  await looks(4)
  return {
    look,
    looks,
    add,
    keepOnly,
    changes: () => changes,
    [Symbol.dispose]: () => watching.unsubscribe(),
  }
}

function createFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-watch-'))
  const file = join(folder, 'leasehold.json5')
  writeFileSync(file, '{}')
  return { folder, file, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
}

describe('a watched file', () => {
  test('that stays the same is no change, and neither is another file beside it', async () => {
    using place = createFolder()
    using watched = await watch(place.file)
    writeFileSync(join(place.folder, 'other.json5'), '{}')
    expect(await watched.looks(20)).toBe(0)
  })

  test('that is saved twenty times in a second is one change (fault 94)', async () => {
    using place = createFolder()
    using watched = await watch(place.file)
    for (let edit = 0; edit < 20; edit += 1) {
      writeFileSync(place.file, `{ /* ${'x'.repeat(edit)} */ }`)
      await watched.look(50)
    }
    expect(watched.changes()).toBeLessThan(2)
    expect(await watched.looks(20)).toBe(1)
  })

  test.each([
    ['written in place', (file: string) => writeFileSync(file, '{ }')],
    [
      'replaced by a file written beside it, as editors do',
      (file: string) => {
        writeFileSync(`${file}~`, '{}')
        renameSync(`${file}~`, file)
      },
    ],
    ['removed', (file: string) => unlinkSync(file)],
  ])('that is %s is a change', async (_how, edit) => {
    using place = createFolder()
    using watched = await watch(place.file)
    edit(place.file)
    expect(await watched.looks(20)).toBe(1)
  })

  test('that is removed and comes back is two changes when both last, and one when the gap is short', async () => {
    using place = createFolder()
    using watched = await watch(place.file)
    unlinkSync(place.file)
    expect(await watched.looks(20)).toBe(1)
    writeFileSync(place.file, '{}')
    expect(await watched.looks(20)).toBe(2)
    unlinkSync(place.file)
    await watched.look(10)
    writeFileSync(place.file, '{}')
    expect(await watched.looks(20)).toBe(3)
  })

  test('that a link points to is followed, also when the link is moved to another file', async () => {
    using place = createFolder()
    const link = join(place.folder, 'link.json5')
    symlinkSync(place.file, link)
    using watched = await watch(link)
    writeFileSync(place.file, '{ }')
    expect(await watched.looks(20)).toBe(1)
    mkdirSync(join(place.folder, 'next'))
    writeFileSync(join(place.folder, 'next', 'leasehold.json5'), '{}')
    symlinkSync(join(place.folder, 'next', 'leasehold.json5'), `${link}~`)
    renameSync(`${link}~`, link)
    expect(await watched.looks(20)).toBe(2)
  })

  test('that keeps changing is left for as long as it does', async () => {
    using place = createFolder()
    using watched = await watch(place.file)
    for (let edit = 0; edit < 12; edit += 1) {
      writeFileSync(place.file, 'x'.repeat(edit))
      await watched.look()
    }
    expect(watched.changes()).toBe(0)
    expect(await watched.looks(20)).toBe(1)
  })

  test('that is added later, even before it exists, is watched from then on; one that is dropped is not', async () => {
    using place = createFolder()
    using watched = await watch(place.file)
    const included = join(place.folder, 'included.json5')
    watched.add(included)
    expect(await watched.looks(20)).toBe(0)
    writeFileSync(included, '{}')
    expect(await watched.looks(20)).toBe(1)
    watched.keepOnly(new Set([place.file]))
    writeFileSync(included, '{ }')
    expect(await watched.looks(20)).toBe(1)
  })

  test('that is saved together with another one is one change with it', async () => {
    using place = createFolder()
    using watched = await watch(place.file)
    const included = join(place.folder, 'included.json5')
    watched.add(included)
    writeFileSync(included, '{}')
    await watched.look()
    writeFileSync(place.file, '{ }')
    expect(await watched.looks(20)).toBe(1)
  })
})
