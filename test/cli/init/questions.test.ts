import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import type { FoundModel } from '../../../src/cli/init/find-models.ts'
import { askChoices } from '../../../src/cli/init/questions.ts'

const model = (file: string): FoundModel => ({
  file,
  name: file,
  architecture: 'x',
  kind: 'chat',
  contextTokens: 32_768,
  bytes: 1024 ** 3,
  missing: [],
  cut: [],
  hasVocabulary: true,
  hasWeights: true,
  projectors: [],
  layers: [{ keyValues: 64, valueValues: 64 }],
})
const one = model('/m/one.gguf')
const two = model('/m/two.gguf')
const DOWN = '\x1b[B'
const ENTER = '\r'
const CTRL_C = '\x03'

/** Answers each question when it has been printed. */
async function answer(
  engines: readonly string[],
  answers: readonly (readonly [question: RegExp, keys: readonly string[]])[],
  given: { readonly contextTokens?: number; readonly idleStop?: string } = {},
) {
  const input = new PassThrough()
  const output = new PassThrough()
  let printed = ''
  const left = [...answers]
  output.on('data', (piece) => {
    printed += piece
    const [next] = left
    if (next === undefined || !next[0].test(printed)) return
    left.shift()
    printed = ''
    // A key that follows another at once is read as one sequence with it.
    for (const [index, key] of next[1].entries()) setTimeout(() => input.write(key), 5 * index)
  })
  const choices = await askChoices({
    engines,
    models: [one, two],
    defaults: { contextTokens: 16_384, idleStop: '10m' },
    given,
    file: 'leasehold.json5',
    input,
    output,
  })
  return { choices, left }
}

test('a person chooses engine, models, context and idle time', async () => {
  const { choices, left } = await answer(
    ['llama.cpp', 'koboldcpp'],
    [
      [/Which engine/, [DOWN, ENTER]],
      // The space bar takes the first model out.
      [/Which models/, [' ', ENTER]],
      [/How large/, [DOWN, ENTER]],
      [/When shall/, [DOWN, ENTER]],
      [/Write leasehold\.json5/, [ENTER]],
    ],
  )
  expect(left).toEqual([])
  expect(choices).toEqual({ engine: 'koboldcpp', models: [two], contextTokens: 32_768, idleStop: '30m' })
})

test('what the command line says is not asked', async () => {
  const { choices, left } = await answer(
    ['llama.cpp'],
    [
      [/Which models/, [ENTER]],
      [/Write/, [ENTER]],
    ],
    { contextTokens: 4096, idleStop: '0' },
  )
  expect(left).toEqual([])
  expect(choices).toEqual({ engine: 'llama.cpp', models: [one, two], contextTokens: 4096, idleStop: '0' })
})

test.each([0, 1, 2, 3])('Ctrl-C at question %i writes nothing', async (count) => {
  const questions = [/Which models/, /How large/, /When shall/, /Write/]
  const answers = questions
    .slice(0, count + 1)
    .map((question, index) => [question, [index === count ? CTRL_C : ENTER]] as const)
  expect(await answer(['llama.cpp'], answers)).toEqual({ choices: undefined, left: [] })
})
