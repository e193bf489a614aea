import { expect, test } from 'vitest'
import { type AnyStateMachine, and, createMachine, not } from 'xstate'
import { borrowingMachine } from '../../machines/borrowing.ts'
import { claimMachine } from '../../machines/claim.ts'
import { memberMachine } from '../../machines/cluster/member.ts'
import { neighbourMachine } from '../../machines/cluster/neighbour.ts'
import { placementMachine } from '../../machines/cluster/placement.ts'
import { providerMachine } from '../../machines/provider/chart.ts'
import { requestMachine } from '../../machines/request.ts'
import { runMachine } from '../../machines/run.ts'
import { supervisorMachine } from '../../machines/supervisor.ts'
import { watchdogMachine } from '../../machines/watchdog.ts'
import { buildDiagram, type DiagramState } from '../../src/inspector/diagram.ts'
import { buildFlatDefinition } from '../../src/statechart/definition.ts'

/** As `safe-stable-stringify` counts: the outermost object is at 1. */
function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

/** A chart without the names of actions, which are joined where the depth ends. */
const edgesOf = (machine: AnyStateMachine) =>
  buildDiagram(machine).states.map(({ transitions, entry: _, exit: __, ...state }: DiagramState) => ({
    ...state,
    transitions: transitions.map(({ event, target }) => ({ event, target })),
  }))

test.each([
  ['provider', providerMachine],
  ['request', requestMachine],
  ['supervisor', supervisorMachine],
  ['run', runMachine],
  ['borrowing', borrowingMachine],
  ['claim', claimMachine],
  ['placement', placementMachine],
  ['neighbour', neighbourMachine],
  ['member', memberMachine],
  ['watchdog', watchdogMachine],
] as const)(
  'the flat definition of the %s chart is ten levels deep at most and has every state and edge',
  (_, machine) => {
    const flat = buildFlatDefinition(machine)
    expect(depthOf(flat)).toBeLessThanOrEqual(10)
    expect(edgesOf(createMachine(JSON.parse(JSON.stringify(flat))))).toEqual(edgesOf(machine))
  },
)

test('a compound guard is told by its parts, and actions are one name only where a list would be too deep', () => {
  const { states } = buildFlatDefinition(providerMachine) as {
    states: Record<string, { on: Record<string, unknown>; states: Record<string, unknown> }>
  }
  expect(states.ready?.on['process.exited']).toEqual([
    { guard: 'not isCurrentGeneration' },
    {
      guard: 'isUnloaded and not hasWaiters',
      target: 'down.cold',
      actions: ['reportStop', 'explainUnloaded'],
    },
    { target: 'down.failing', actions: ['reportStop', 'recordExit', 'countFailure'] },
  ])
  expect(states.starting?.states.warming).toMatchObject({
    states: {
      polling: {
        on: {
          'health.verdict': expect.arrayContaining([
            {
              guard: 'isReady and isOwned',
              target: '#provider.ready',
              actions: 'recordVerdict, explainReady, startHeartbeat, startStabilityTimer',
            },
          ]),
        },
      },
    },
  })
})

test('guards of guards keep their brackets', () => {
  const machine = createMachine({
    initial: 'a',
    states: { a: { on: { go: { guard: not(and(['isOne', not('isTwo')])), target: 'b' } } }, b: {} },
  })
  expect(buildFlatDefinition(machine)).toMatchObject({
    states: { a: { on: { go: { guard: 'not (isOne and not isTwo)' } } } },
  })
})
