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

  test('30 requests at three machines start one server', async ({ expect }) => {
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
})
