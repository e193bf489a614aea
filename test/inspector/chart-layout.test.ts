import { expect, test } from 'vitest'
import { createMachine } from 'xstate'
import { providerMachine } from '../../machines/provider/chart.ts'
import { requestMachine } from '../../machines/request.ts'
import { supervisorMachine } from '../../machines/supervisor.ts'
import { type ChartBox, layOutChart } from '../../src/inspector/chart-layout.ts'
import { buildDiagram } from '../../src/inspector/diagram.ts'
import { findWay } from '../../src/inspector/page/chart-view.tsx'

const machines = { provider: providerMachine, request: requestMachine, supervisor: supervisorMachine }

test.each(Object.entries(machines))(
  'every state of the %s machine is drawn, inside its parent and beside its siblings',
  (_, machine) => {
    const diagram = buildDiagram(machine)
    const chart = layOutChart(diagram)
    const paths = diagram.states.map(({ path }) => path).filter((path) => path !== '')
    expect(chart.boxes.map(({ path }) => path).toSorted()).toEqual(paths.toSorted())
    for (const box of chart.boxes) {
      const parent = chart.boxes.find(({ path }) => path === box.path.split('.').slice(0, -1).join('.'))
      const around = parent ?? { x: 0, y: 0, width: chart.width, height: chart.height }
      expect(isWithin(box, around), box.path).toBe(true)
      const siblings = chart.boxes.filter(
        ({ path }) => path !== box.path && depthOf(path) === depthOf(box.path),
      )
      for (const other of siblings) expect(isApart(box, other), `${box.path} and ${other.path}`).toBe(true)
    }
  },
)

test.each(Object.entries(machines))(
  'every transition of the %s machine that leads elsewhere is on an arrow',
  (_, machine) => {
    const diagram = buildDiagram(machine)
    const drawn = new Set(
      layOutChart(diagram).arrows.flatMap(({ transitions }) =>
        transitions.map(({ event, from, to }) => `${event} ${from} ${to}`),
      ),
    )
    for (const { path, transitions } of diagram.states)
      for (const { event, target } of transitions) {
        const isInward = target === undefined || path === '' || `${target}.`.startsWith(`${path}.`)
        const isOutward = target !== undefined && `${path}.`.startsWith(`${target}.`)
        if (!isInward && !isOutward) expect(drawn).toContain(`${event} ${path} ${target}`)
      }
  },
)

test('a change of the chart changes the picture', () => {
  const states = { one: { on: { go: 'two' } }, two: { on: { back: 'one' } } }
  const before = layOutChart(buildDiagram(createMachine({ id: 'm', initial: 'one', states })))
  const more = { ...states, three: { on: { go: 'one' } } }
  const after = layOutChart(buildDiagram(createMachine({ id: 'm', initial: 'one', states: more })))
  expect(after.boxes).toHaveLength(before.boxes.length + 1)
  expect(after.arrows).toHaveLength(before.arrows.length + 1)
})

test('arrows have at least two corners, and none runs out of the picture', () => {
  const { arrows, width, height } = layOutChart(buildDiagram(providerMachine))
  for (const { points } of arrows) {
    expect(points.length).toBeGreaterThanOrEqual(2)
    for (const [x, y] of points) {
      expect(x >= 0 && x <= width).toBe(true)
      expect(y >= 0 && y <= height).toBe(true)
    }
  }
})

test('the way of a change goes through a state that was left at once, if that is what was heard', () => {
  const chart = layOutChart(buildDiagram(providerMachine))
  const ends = (heard: readonly string[]) =>
    findWay(chart, 'starting.warming', 'leased.open', heard).arrows.map(({ from, to }) => `${from} ${to}`)
  expect(ends(['health.verdict'])).toEqual(['starting ready', 'ready leased'])
  expect(findWay(chart, 'starting.warming', 'leased.open', ['health.verdict']).event).toBe('health.verdict')
  expect(findWay(chart, 'leased.open', 'down.backoff', ['lease.requested', 'process.exited'])).toMatchObject({
    event: 'process.exited',
    arrows: [{ from: 'leased', to: 'down' }],
  })
})

type Rect = Pick<ChartBox, 'x' | 'y' | 'width' | 'height'>

function isWithin(inner: Rect, outer: Rect): boolean {
  return (
    inner.x >= outer.x &&
    inner.y >= outer.y &&
    inner.x + inner.width <= outer.x + outer.width &&
    inner.y + inner.height <= outer.y + outer.height
  )
}

function isApart(a: Rect, b: Rect): boolean {
  return a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y
}

function depthOf(path: string): number {
  return path.split('.').length
}
