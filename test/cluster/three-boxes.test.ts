// @module-tag proof
import { test } from 'vitest'
import { type Box, createBoxes } from './boxes.ts'
import { describeWithNats } from './nats-server.ts'

interface Models {
  readonly data: readonly { readonly id: string; readonly members?: readonly string[] }[]
}

describeWithNats('three machines', () => {
  test('list the models of each other, and a member that leaves is gone at once', async ({ expect }) => {
    await using boxes = await createBoxes([])
    const tower = await boxes.add('tower', { providers: ['llama', 'shared'] })
    const attic = await boxes.add('attic', { providers: ['qwen', 'shared'] })
    const cellar = await boxes.add('cellar', { providers: ['phi', 'shared'] })
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    const listOf = async (box: Box) =>
      ((await box.json('/v1/models')) as Models).data.map(({ id, members }) => [id, members?.toSorted()])
    const all = [
      ['llama/m', ['tower']],
      ['phi/m', ['cellar']],
      ['qwen/m', ['attic']],
      ['shared/m', ['attic', 'cellar', 'tower']],
    ]
    for (const box of boxes.all) expect((await listOf(box)).sort()).toEqual(all)
    await cellar.end('SIGTERM')
    await attic.until(/member cellar is lost/)
    expect((await listOf(tower)).sort()).toEqual([
      ['llama/m', ['tower']],
      ['qwen/m', ['attic']],
      ['shared/m', ['attic', 'tower']],
    ])
  })
})
