import { describe, expect, test } from 'vitest'
import { substituteVariables } from '../../src/config/secrets.ts'

describe('variables in values', () => {
  const env = { KEY: 'sk-1', lower_1: 'two', NESTED: `\${KEY}`, EMPTY: '' }

  test.each([
    ['plain', 'plain'],
    [`\${KEY}`, 'sk-1'],
    [`a-\${KEY}-\${lower_1}`, 'a-sk-1-two'],
    [`$\${KEY}`, `\${KEY}`],
    [`$KEY \${} \${1X} \${KEY`, `$KEY \${} \${1X} \${KEY`],
    [`\${NESTED}`, `\${KEY}`],
  ])('%j becomes %j', (text, expected) => {
    expect(substituteVariables(text, env)).toMatchObject({ text: expected, missing: [] })
  })

  test('a variable that is absent, empty or inherited from a prototype is missing', () => {
    const text = `\${NONE}\${EMPTY}\${constructor}`
    expect(substituteVariables(text, env)).toEqual({
      text,
      isSubstituted: false,
      missing: ['NONE', 'EMPTY', 'constructor'],
    })
  })

  test('only a value from the environment marks the text as substituted', () => {
    expect(substituteVariables(`$\${KEY}`, env).isSubstituted).toBe(false)
    expect(substituteVariables(`\${KEY}`, env).isSubstituted).toBe(true)
  })
})
