// @module-tag proof
import { test } from 'vitest'
import { type Box, createBoxes } from './boxes.ts'
import { describeWithNats } from './nats-server.ts'

describeWithNats('a cold start among three machines', () => {
  test('a request goes to the machine that has the model', async ({ expect }) => {
    await using boxes = await createBoxes([])
    const tower = await boxes.add('tower', { providers: ['llama'] })
    const attic = await boxes.add('attic', { providers: ['qwen'] })
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    const answer = await attic.ask({ model: 'llama/m' })
    const body = await answer.text()
    expect([answer.status, body]).toEqual([200, expect.stringContaining('42')])
    expect([tower.starts(), attic.starts()]).toEqual([1, 0])
  })

  test('30 requests at three machines start one server (T2)', async ({ expect }) => {
    await using boxes = await createBoxes(['tower', 'attic', 'cellar'], { flags: ['--load-ms', '400'] })
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, index) => (boxes.all[index % 3] as Box).ask()),
    )
    const statuses = answers.map(({ status }) => status)
    const bodies = await Promise.all(answers.map((answer) => answer.text()))
    expect(bodies.filter((_, index) => statuses[index] !== 200)).toEqual([])
    expect(boxes.all.map((box) => box.starts()).sort()).toEqual([0, 0, 1])
  })

  test('a machine that is asked as soon as it listens starts nothing that another one has up', async ({
    expect,
  }) => {
    await using boxes = await createBoxes(['tower', 'attic'])
    const [tower, attic] = boxes.all as [Box, Box]
    await tower.start()
    expect((await tower.ask()).status).toBe(200)
    for (let round = 0; round < 3; round += 1) {
      await attic.start()
      const answer = await attic.ask()
      expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('42')])
      await attic.end('SIGKILL')
    }
    expect([tower.starts(), attic.starts()]).toEqual([1, 0])
  })

  test('a machine that a client names starts it itself, although another one has it', async ({ expect }) => {
    await using boxes = await createBoxes(['tower', 'attic'])
    const [tower, attic] = boxes.all as [Box, Box]
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    expect((await tower.ask({ model: 'tower:llama/m' })).status).toBe(200)
    expect((await tower.ask({ model: 'attic:llama/m' })).status).toBe(200)
    expect([tower.starts(), attic.starts()]).toEqual([1, 1])
    await attic.run('stop', 'llama')
    expect((await attic.ask({ model: 'attic:llama/m' })).status).toBe(200)
    expect([tower.starts(), attic.starts()]).toEqual([1, 2])
  })

  test('a start by hand and preload start it here, although another machine has it', async ({ expect }) => {
    await using boxes = await createBoxes(['tower', 'attic'])
    const [tower, attic] = boxes.all as [Box, Box]
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    expect((await tower.ask({ model: 'tower:llama/m' })).status).toBe(200)
    const started = await attic.run('start', 'llama')
    expect([started.code, started.stderr]).toEqual([0, ''])
    const cellar = await boxes.add('cellar', { leasehold: { preload: ['llama'] } })
    await cellar.start()
    await expect.poll(() => cellar.starts(), { timeout: 10_000 }).toBe(1)
    expect([tower.starts(), attic.starts()]).toEqual([1, 1])
  })

  test('providers of one name with other models are two services', async ({ expect }) => {
    await using boxes = await createBoxes([])
    const tower = await boxes.add('tower', { models: ['phi'] })
    const attic = await boxes.add('attic', { models: ['qwen'] })
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    const answers = await Promise.all(
      ['llama/phi', 'llama/qwen'].flatMap((model) => boxes.all.map((box) => box.ask({ model }))),
    )
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect([tower.starts(), attic.starts()]).toEqual([1, 1])
  })

  test('a machine that uses no other one starts its own', async ({ expect }) => {
    await using boxes = await createBoxes(['tower'])
    const [tower] = boxes.all as [Box]
    const attic = await boxes.add('attic', { cluster: { use: ['phi'] } })
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    expect((await tower.ask({ model: 'tower:llama/m' })).status).toBe(200)
    expect((await attic.ask()).status).toBe(200)
    expect([tower.starts(), attic.starts()]).toEqual([1, 1])
  })
})
