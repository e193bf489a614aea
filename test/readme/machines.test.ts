import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import { providerMachine } from '../../machines/provider/chart.ts'
import { providerDelays } from '../../machines/provider/delays.ts'
import { buildDiagram, formatMermaid } from '../../src/inspector/diagram.ts'

const file = fileURLToPath(new URL('../../machines/README.md', import.meta.url))
const pattern = (name: string) => new RegExp(`(<!-- ${name} -->\n)([\\s\\S]*?)(<!-- /${name} -->)`)

const blocks: Readonly<Record<string, string>> = {
  provider: `\`\`\`mermaid\n${formatMermaid(providerMachine, { depth: 1 }).trim()}\n\`\`\`\n`,
  states: toTable(['State', 'Tags', 'Meaning'], listStates(providerMachine.root)),
  timers: toTable(['Timer', 'Runs in'], listTimers()),
}

// `npm run readme` writes what this test otherwise compares.
if (process.env.WRITE_README === '1')
  writeFileSync(
    file,
    Object.entries(blocks).reduce(
      (text, [name, block]) => text.replace(pattern(name), (_, begin, _old, end) => begin + block + end),
      readFileSync(file, 'utf8'),
    ),
  )

const readme = readFileSync(file, 'utf8')

test.each(Object.entries(blocks))(
  'the README of the charts says what the chart says about its %s',
  (name, block) => {
    expect(pattern(name).exec(readme)?.[2]).toBe(block)
  },
)

test('every file that the README of the charts links to is there', () => {
  const links = [...readme.matchAll(/\]\(([^)]+)\)/g)].map(([, path = '']) => path)
  expect(links.length).toBeGreaterThan(5)
  for (const link of links) expect(() => readFileSync(new URL(link, `file://${file}`))).not.toThrow(/ENOENT/)
})

function listStates(node: AnyStateMachine['root'], depth = 0): string[][] {
  return Object.values(node.states).flatMap((state) => [
    [
      `${'&nbsp;&nbsp;'.repeat(depth)}\`${state.key}\``,
      state.tags.map((tag) => `\`${tag}\``).join(' '),
      state.description ?? '',
    ],
    ...listStates(state, depth + 1),
  ])
}

function listTimers(): string[][] {
  const { states } = buildDiagram(providerMachine)
  return Object.keys(providerDelays).map((name) => {
    const timed = states.filter(({ transitions }) =>
      transitions.some(({ event }) => event === `after ${name}`),
    )
    const places = timed.map(({ path }) => `\`${path}\``).join(', ')
    return [`\`${name}\``, places || 'several states: raised by an action']
  })
}

function toTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('')
}
