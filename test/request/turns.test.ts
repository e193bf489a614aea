import { expect, test } from 'vitest'
import { createTurnBudget, createTurns } from '../../src/request/turns.ts'

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

test('a turn takes a bounded number of pieces of work, and the rest follow in order', async () => {
  const budget = createTurnBudget(3)
  const done: number[] = []
  const add = (index: number) => {
    if (budget.take()) done.push(index)
    else budget.later(() => done.push(index))
  }
  for (let index = 0; index < 8; index += 1) add(index)
  const counts = [done.length]
  while (done.length < 8) {
    await new Promise((resolve) => setImmediate(resolve))
    counts.push(done.length)
  }
  expect(counts).toEqual([3, 6, 8])
  expect(done).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  await new Promise((resolve) => setImmediate(resolve))
  add(8)
  expect(done).toHaveLength(9)
})
