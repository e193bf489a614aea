import { expect, test } from 'vitest'
import { and, createMachine, not, or } from 'xstate'
import {
  borrowingMachine,
  claimMachine,
  memberMachine,
  neighbourMachine,
  placementMachine,
  providerMachine,
  requestMachine,
  runMachine,
  supervisorMachine,
} from '../../machines/index.ts'
import { buildDiagram, formatMermaid } from '../../src/inspector/diagram.ts'
import { buildDefinition } from '../../src/statechart/definition.ts'
import { createPlace } from './command-line.ts'

const charts = [
  ['borrowing', borrowingMachine],
  ['claim', claimMachine],
  ['placement', placementMachine],
  ['neighbour', neighbourMachine],
  ['member', memberMachine],
  ['provider', providerMachine],
  ['request', requestMachine],
  ['run', runMachine],
  ['supervisor', supervisorMachine],
] as const

test.each(charts)('the %s chart is drawn in mermaid: every line is one that it knows', (_, machine) => {
  const lines = formatMermaid(machine).trimEnd().split('\n')
  expect(lines[0]).toBe('stateDiagram-v2')
  for (const line of lines.slice(1))
    expect(line).toMatch(
      /^ +(state "[\w-]+" as \w+( \{)?|\}|\[\*\] --> \w+|\w+ --> \[\*\]|\w+ --> \w+ : [^:;{}]+)$/,
    )
})

test.each(charts)('in the %s chart an arrow joins states that are drawn, of one composite', (_, machine) => {
  const parents = new Map<string, string>()
  const stack = ['']
  const arrows: { from: string; to: string; within: string }[] = []
  for (const line of formatMermaid(machine).split('\n')) {
    const within = stack.at(-1) ?? ''
    const [, id, opening] = / as (\w+)( \{)?$/.exec(line) ?? []
    if (id !== undefined) parents.set(id, within)
    if (opening !== undefined && id !== undefined) stack.push(id)
    if (line.trim() === '}') stack.pop()
    const [, from, to] = /(\w+) --> (\w+) :/.exec(line) ?? []
    if (from !== undefined && to !== undefined) arrows.push({ from, to, within })
  }
  expect(stack).toEqual([''])
  expect(parents.size).toBe(buildDiagram(machine).states.length - 1)
  expect(arrows.length).toBeGreaterThan(0)
  for (const { from, to, within } of arrows)
    expect({ from, to, parents: [parents.get(from), parents.get(to)] }).toEqual({
      from,
      to,
      parents: [within, within],
    })
  expect(new Set(arrows.map(({ from, to }) => `${from} ${to}`)).size).toBe(arrows.length)
})

test('the json has what the picture leaves out: guards, actions, effects, transitions that change no state', () => {
  const { id, states } = buildDiagram(providerMachine)
  expect(id).toBe('provider')
  expect(states[0]).toMatchObject({
    path: '',
    initial: 'down',
    invokes: ['requests', 'process', 'health', 'peer'],
  })
  const find = (path: string) => states.find((state) => state.path === path)
  expect(find('probing')).toMatchObject({ kind: 'atomic', invokes: ['probe'] })
  expect(find('probing')?.transitions).toContainEqual({
    event: 'probe done',
    guard: 'isRefused and isManaged',
    target: 'starting',
    actions: ['recordVerdict', 'explainStart'],
  })
  expect(find('ready')?.transitions).toContainEqual({
    event: 'after idleStop',
    guard: 'canIdleStop and isOwned',
    target: 'idle-stopping',
    actions: ['recordIdleStop'],
  })
  expect(find('leased.open')?.transitions).toContainEqual({
    event: 'lease.released',
    guard: 'not isCurrentGeneration',
    actions: [],
  })
  expect(find('ready.awake')?.transitions).toContainEqual({
    event: 'always',
    guard: 'hasWaiters and not isUnreachable',
    target: 'leased',
    actions: ['grantWaiters'],
  })
  expect(find('retired')).toMatchObject({ kind: 'final' })
})

test.each(charts)('the %s chart is printed by its name, in both formats', async (name, machine) => {
  await using place = await createPlace()
  const { stdout } = await place.run('machines', 'print', '--machine', name)
  expect(stdout).toBe(formatMermaid(machine))
  const json = await place.run('machines', 'print', '--machine', name, '--format', 'json')
  // Loaded again it is the same chart: every state, edge, guard, action and effect by its name.
  const loaded = createMachine(JSON.parse(json.stdout))
  expect(buildDiagram(loaded)).toEqual(buildDiagram(machine))
})

test('a compound guard keeps its parts in the definition', () => {
  const machine = createMachine({
    initial: 'a',
    states: {
      a: { on: { go: { guard: and(['isOne', not(or(['isTwo', 'isThree']))]), target: 'b' } } },
      b: {},
    },
  })
  const { states } = buildDefinition(machine) as { states: { a: { on: { go: { guard: object } } } } }
  const inner = { type: 'isTwo or isThree', params: { guards: ['isTwo', 'isThree'] } }
  expect(states.a.on.go.guard).toEqual({
    type: 'isOne and not (isTwo or isThree)',
    params: { guards: ['isOne', { type: 'not (isTwo or isThree)', params: { guards: [inner] } }] },
  })
})
