import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { runScript, type Story, type StoryStep } from '../../src/testing/run-script.ts'
import { parseScript } from '../../src/testing/script.ts'

const folder = new URL('../scripts/', import.meta.url)
const scripts = readdirSync(folder)
  .filter((file) => file.endsWith('.json5'))
  .map((file) => ({ file, script: parseScript(readFileSync(new URL(file, folder), 'utf8')) }))

describe('on the virtual clock', () => {
  test.each(scripts)('$script.title', async ({ file, script }) => {
    const story = await runScript(script)
    if (!story.ok) expect.fail(`${file}\n${tell(story)}`)
  })
})

test('every script has a title of its own, and its file is named after a behaviour', () => {
  const titles = scripts.map(({ script }) => script.title)
  expect(new Set(titles).size).toBe(titles.length)
  for (const { file } of scripts) expect(file).toMatch(/^[a-z]+(-[a-z0-9]+)+\.json5$/)
})

test('every race that can be seen at the level of the machines has a script', () => {
  const covered = new Set(scripts.flatMap(({ script }) => script.covers ?? []))
  const races = [...Array.from({ length: 18 }, (_, index) => `R${index + 1}`), 'R21', 'R22']
  expect(races.filter((race) => !covered.has(race))).toEqual([])
})

test('a script that is also played with real processes asks only for what an outsider can do', () => {
  const allowed = {
    sends: ['lease.requested', 'lease.cancelled', 'lease.released', 'service.stop', 'breaker.reset'],
    world: ['probe', 'readyAfterMs', 'exitAfterMs', 'exitCode', 'termMs', 'canSpawn', 'retry'],
  }
  const real = scripts.filter(({ script }) => script.real)
  expect(real.length).toBeGreaterThanOrEqual(15)
  for (const { file, script } of real) {
    const worlds = [script.world, ...script.steps.map((step) => step.world ?? {})]
    const sends = script.steps.flatMap((step) => [step.send ?? []].flat()).map(({ type }) => type)
    expect({
      file,
      stray: worlds.flatMap(Object.keys).filter((key) => !allowed.world.includes(key)),
    }).toEqual({
      file,
      stray: [],
    })
    expect({ file, stray: sends.filter((type) => !allowed.sends.includes(type)) }).toEqual({
      file,
      stray: [],
    })
  }
})

function tell({ steps }: Story): string {
  return steps.map(tellStep).join('\n')
}

function tellStep({ step, state, facts, failures }: StoryStep): string {
  const asked = [
    step.say,
    step.crash && 'crash',
    step.world && 'world',
    ...[step.send ?? []].flat().map(({ type }) => type),
  ]
  return [
    `at ${step.at} ms: ${asked.filter(Boolean).join(', ') || 'look'}`,
    ...facts.map(({ atMs, type, ...rest }) => `    ${atMs} ms  ${type}  ${JSON.stringify(rest)}`),
    `    now ${state}`,
    ...failures.map((failure) => `    FAILED: ${failure}`),
  ].join('\n')
}
