import { expect, test } from 'vitest'
import { createTurns } from '../src/turns.ts'

test('each piece of work has a turn of its own, in the order in which they came', async () => {
  const inTurn = createTurns()
  const done: string[] = []
  let turn = 0
  let isOver = false
  const count = () => {
    turn += 1
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  await new Promise<void>((resolve) => {
    for (const name of ['a', 'b', 'c'])
      inTurn(() => {
        done.push(`${name} ${turn}`)
        if (name === 'b') inTurn(() => resolve())
      })
  })
  isOver = true
  expect(done).toEqual(['a 1', 'b 2', 'c 3'])
})

test('work that throws does not stop the rest', async () => {
  const inTurn = createTurns()
  const thrown: unknown[] = []
  const before = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.once('uncaughtException', (error) => thrown.push(error))
  await new Promise<void>((resolve) => {
    inTurn(() => {
      throw new Error('broken')
    })
    inTurn(resolve)
  })
  for (const listener of before) process.on('uncaughtException', listener)
  expect(thrown).toHaveLength(1)
})
