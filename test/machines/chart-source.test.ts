import { readdirSync, readFileSync } from 'node:fs'
import { parseAst } from 'rolldown/parseAst'
import { describe, expect, test } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import { borrowingMachine } from '../../machines/borrowing.ts'
import { claimMachine } from '../../machines/claim.ts'
import { memberMachine } from '../../machines/cluster/member.ts'
import { neighbourMachine } from '../../machines/cluster/neighbour.ts'
import { placementMachine } from '../../machines/cluster/placement.ts'
import { providerMachine } from '../../machines/provider/chart.ts'
import { toStateName } from '../../machines/provider/context.ts'
import { listTags, providerStates } from '../../machines/provider/tags.ts'
import { requestMachine } from '../../machines/request.ts'
import { runMachine } from '../../machines/run.ts'
import { supervisorMachine } from '../../machines/supervisor.ts'
import { watchdogMachine } from '../../machines/watchdog.ts'

const charts: readonly (readonly [string, AnyStateMachine])[] = [
  ['borrowing.ts', borrowingMachine],
  ['claim.ts', claimMachine],
  ['cluster/placement.ts', placementMachine],
  ['cluster/neighbour.ts', neighbourMachine],
  ['cluster/member.ts', memberMachine],
  ['provider/chart.ts', providerMachine],
  ['request.ts', requestMachine],
  ['run.ts', runMachine],
  ['supervisor.ts', supervisorMachine],
  ['watchdog.ts', watchdogMachine],
]

describe.each(charts)('the source of machines/%s', (file, machine) => {
  const chart = findChart(file)

  test('has every state of the chart in one literal', () => {
    expect(listStates(chart).map(({ path }) => path)).toEqual(listPaths(machine.root))
  })

  test('describes every state', () => {
    expect(listStates(chart).filter(({ hasDescription }) => !hasDescription)).toEqual([])
  })

  test('has no spread, and calls only to join guards', () => {
    const found = listNodes(chart).flatMap((node) => {
      if (node.type === 'SpreadElement') return ['a spread']
      const name = node.type === 'CallExpression' ? (node.callee as Named).name : 'and'
      return ['and', 'or', 'not'].includes(name ?? '') ? [] : [`a call of ${name}`]
    })
    expect(found).toEqual([])
  })
})

test('the table of tags says what the chart says', () => {
  const tags = new Map<string, Set<string>>()
  const visit = (node: AnyStateMachine['root'], around: readonly string[]) => {
    const here = [...around, ...node.tags]
    const inner = Object.values(node.states)
    for (const state of inner) visit(state, here)
    // A state that is left in the same step is never shown.
    const isPassed = node.always?.some(({ guard }) => guard === undefined) === true
    if (inner.length > 0 || isPassed) return
    // The name of `ready.awake` is `ready`.
    const name = node.path.slice(0, 2).join('.').replace('ready.awake', 'ready')
    expect(new Set(here)).toEqual(tags.get(name) ?? new Set(here))
    tags.set(name, new Set(here))
  }
  visit(providerMachine.root, [])
  expect(Object.fromEntries(providerStates.map((state) => [state, new Set(listTags(state))]))).toEqual(
    Object.fromEntries(tags),
  )
})

test('a state is shown by its first two levels, and a state that is not known has no tags', () => {
  const { value } = providerMachine.resolveState({
    value: { starting: { warming: { borrowing: 'meeting' } } },
    context: {} as never,
  })
  expect(providerStates).toContain(toStateName(value))
  expect(listTags('constructor')).toEqual([])
})

test('no code outside of the charts compares the name of a state', () => {
  const folder = new URL('../../src/', import.meta.url)
  const compared =
    /(?:[!=]==|startsWith\(|\.test\() ?'?(?:(?:down|starting|leased|idle-stopping)\.[a-z]+|idle-stopping)|\b(?:state|from|to) [!=]== '(?:ready|probing|retired)'/g
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.tsx?$/.test(file))
    .flatMap((file) =>
      (readFileSync(new URL(file, folder), 'utf8').match(compared) ?? []).map((text) => `${file}: ${text}`),
    )
  expect(found).toEqual([])
})

/** A node of a syntax tree. */
interface Node {
  readonly type: string
  readonly [part: string]: unknown
}
interface Named {
  readonly name?: string
  readonly value?: unknown
}

/** The literal that is given to `createMachine`, as a tool finds it that reads the file and runs nothing. */
function findChart(file: string): Node {
  const code = readFileSync(new URL(`../../machines/${file}`, import.meta.url), 'utf8')
  const [call, ...others] = listNodes(parseAst(code, { lang: 'ts' }) as unknown as Node).filter(
    ({ type, callee }) =>
      type === 'CallExpression' && ((callee as Node).property as Named | undefined)?.name === 'createMachine',
  )
  const [literal] = (call?.arguments ?? []) as readonly Node[]
  if (literal === undefined || others.length > 0) throw new Error(`${file} is not one chart`)
  return literal
}

/** Every node below this one. The functions in a chart, for its memory and for the input of effects, stay closed. */
function listNodes(node: Node): Node[] {
  const inner = Object.values(node)
    .flat()
    .filter((part): part is Node => typeof part === 'object' && part !== null && 'type' in part)
  return [node, ...inner.filter(({ type }) => type !== 'ArrowFunctionExpression').flatMap(listNodes)]
}

interface WrittenState {
  readonly path: string
  readonly hasDescription: boolean
}

function listStates(chart: Node, around = ''): WrittenState[] {
  return [...propertiesOf(propertiesOf(chart).get('states'))].flatMap(([name, state]) => {
    const description = propertiesOf(state).get('description')?.value
    const hasDescription = typeof description === 'string' && description.length > 10
    return [{ path: around + name, hasDescription }, ...listStates(state, `${around}${name}.`)]
  })
}

/** The properties of a literal; none when it is something else: a name that another file explains, for one. */
function propertiesOf(literal: Node | undefined): ReadonlyMap<string, Node> {
  if (literal?.type !== 'ObjectExpression') return new Map()
  const properties = literal.properties as readonly (Node & { readonly key: Named; readonly value: Node })[]
  return new Map(properties.map(({ key, value }) => [key.name ?? String(key.value), value]))
}

function listPaths(node: AnyStateMachine['root']): string[] {
  return Object.values(node.states).flatMap((state) => [state.path.join('.'), ...listPaths(state)])
}
