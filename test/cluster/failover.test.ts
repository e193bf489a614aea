// @module-tag proof
import { test } from 'vitest'
import { type Box, createBoxes } from './boxes.ts'
import { describeWithNats } from './nats-server.ts'

describeWithNats('a member that is killed', () => {
  test('before its first bytes loses all of its requests to another one', async ({ expect }) => {
    await using boxes = await createBoxes([])
    const tower = await boxes.add('tower', { providers: ['other'] })
    const attic = await boxes.add('attic', { flags: ['--first-token-ms', '60000'] })
    const cellar = await boxes.add('cellar')
    await Promise.all([tower, attic].map((box) => box.start()))
    await boxes.untilJoined([tower, attic])
    const asked = Array.from({ length: 8 }, () => tower.ask())
    await attic.until(/llama {2}ready/)
    await expect.poll(() => countLeases(attic)).toBe(8)
    await cellar.start()
    await boxes.untilJoined()
    await attic.end('SIGKILL')
    const answers = await Promise.all(asked)
    expect(answers.map(({ status, headers }) => [status, headers.get('x-leasehold-model')])).toEqual(
      asked.map(() => [200, 'cellar:llama/m']),
    )
    expect(cellar.starts()).toBe(1)
  })

  test('under streams ends them with an error, and never as if they were whole', async ({ expect }) => {
    await using boxes = await createBoxes([])
    const tower = await boxes.add('tower', { providers: ['other'] })
    const attic = await boxes.add('attic', { flags: ['--token-delay-ms', '2000'] })
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    const streams = await Promise.all(Array.from({ length: 4 }, () => tower.ask({ stream: true })))
    await expect.poll(() => countLeases(attic)).toBe(4)
    const texts = streams.map(async ({ body }) => {
      let text = ''
      try {
        for await (const part of body ?? []) text += Buffer.from(part).toString()
        return `${text} (whole)`
      } catch {
        return text
      }
    })
    await attic.end('SIGKILL')
    for (const text of await Promise.all(texts)) {
      expect(text).toContain('"code":"LEASEHOLD_')
      expect(text).not.toContain('[DONE]')
      expect(text).not.toContain('(whole)')
    }
  })

  test('as a gateway leaves no lease at the owner', async ({ expect }) => {
    await using boxes = await createBoxes([])
    const tower = await boxes.add('tower', { providers: ['other'] })
    const attic = await boxes.add('attic', { flags: ['--first-token-ms', '60000'] })
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    const asked = Promise.allSettled(Array.from({ length: 4 }, () => tower.ask()))
    await expect.poll(() => countLeases(attic)).toBe(4)
    await tower.end('SIGKILL')
    await expect.poll(() => countLeases(attic), { timeout: 5_000 }).toBe(0)
    await asked
  })

  test('or drains gets no new request, and loses none', async ({ expect }) => {
    await using boxes = await createBoxes([])
    const tower = await boxes.add('tower', { providers: ['other'] })
    const attic = await boxes.add('attic', { flags: ['--first-token-ms', '1500'] })
    const cellar = await boxes.add('cellar')
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    expect((await attic.ask()).status).toBe(200)
    const before = tower.ask()
    await expect.poll(() => countLeases(attic)).toBe(1)
    await attic.run('drain')
    await tower.until(/member attic is draining/)
    const after = await Promise.all(Array.from({ length: 6 }, () => tower.ask()))
    expect(after.map(({ headers }) => headers.get('x-leasehold-model'))).toEqual(
      after.map(() => 'cellar:llama/m'),
    )
    expect((await before).headers.get('x-leasehold-model')).toBe('attic:llama/m')
    expect(cellar.starts()).toBe(1)
  })
})

async function countLeases(box: Box): Promise<number> {
  const { services } = (await box.json('/api/services')) as {
    readonly services: readonly { readonly service: string; readonly leases: number }[]
  }
  return services.find(({ service }) => service === 'llama')?.leases ?? 0
}
