import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { rememberCandidates } from '../../src/request/candidates.ts'

const toConfig = (port: number) =>
  parseConfig(
    JSON.stringify({
      models: { providers: { any: { baseUrl: `http://127.0.0.1:${port}/v1`, models: [] } } },
      agents: { defaults: { model: { primary: 'any/first', fallbacks: ['any/second'] } } },
    }),
  )
const refs = (candidates: ReturnType<ReturnType<typeof rememberCandidates>>) =>
  candidates.map(({ target: { ref } }) => ref)

test('a name has the same candidates until another configuration is in force', () => {
  const candidatesOf = rememberCandidates()
  const config = toConfig(1)
  const first = candidatesOf(config, 'any/m', false)
  expect(candidatesOf(config, 'any/m', false)).toBe(first)
  const [candidate] = candidatesOf(toConfig(2), 'any/m', false)
  expect(candidate?.target.provider.baseUrl).toBe('http://127.0.0.1:2/v1')
})

test('a name has its fallbacks only in a request that allows them', () => {
  const candidatesOf = rememberCandidates()
  const config = toConfig(1)
  expect(refs(candidatesOf(config, 'any/first', false))).toEqual(['any/first'])
  expect(refs(candidatesOf(config, 'any/first', true))).toEqual(['any/first', 'any/second'])
  expect(refs(candidatesOf(config, undefined, false))).toEqual(['any/first', 'any/second'])
})

test('names beyond the first thousand are found, and not remembered', () => {
  const candidatesOf = rememberCandidates()
  const config = toConfig(1)
  for (let index = 0; index < 1_024; index += 1) candidatesOf(config, `any/${index}`, false)
  const late = candidatesOf(config, 'any/late', false)
  expect(refs(late)).toEqual(['any/late'])
  expect(candidatesOf(config, 'any/late', false)).not.toBe(late)
})
