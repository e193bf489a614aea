import { expect, test } from 'vitest'
import { providerMachine } from '../../../machines/index.ts'
import { providerStates } from '../../../machines/provider/tags.ts'
import { layOutChart } from '../../../src/inspector/chart-layout.ts'
import { buildDiagram } from '../../../src/inspector/diagram.ts'
import { innerNames, sixStates, sixWays } from '../../../src/inspector/page/six-states.ts'

const { boxes, arrows } = layOutChart(buildDiagram(providerMachine))
const top = (path: string) => path.split('.')[0] ?? path

test('the six states of the page are those of the machine, and each of its ways is one of the machine', () => {
  const states = boxes.map(({ path }) => path).filter((path) => !path.includes('.') && path !== 'retired')
  expect(sixStates.map(({ id }) => id).toSorted()).toEqual(states.toSorted())
  const ways = new Set(arrows.map(({ from, to }) => `${top(from)} ${top(to)}`))
  expect(sixWays.filter(({ from, to }) => !ways.has(`${from} ${to}`))).toEqual([])
})

test('every state that is shown has its words', () => {
  const inner = providerStates.filter((state) => state.includes('.'))
  expect(inner.filter((state) => innerNames[state] === undefined)).toEqual([])
})
