import { expect, test } from 'vitest'
import { parseMarkdown } from '../../../src/inspector/page/views/markdown.ts'

const plain = (text: string) => ({ look: 'plain', text })

test('reads the Markdown that models write', () => {
  const text = [
    '## Two ways',
    'First, **bold**, *slanted* and `a * b`,',
    'on two lines.',
    '',
    '1. one',
    '   - inner _one_',
    '2. two',
    '> said',
    '---',
    '| a | b |',
    '|---|:-:|',
    '| 1 | **2** |',
    'See [the docs](https://example.org/a).',
    '```python',
    '# no heading',
    'x = "**"',
    '```',
    'End',
  ].join('\n')
  expect(parseMarkdown(text)).toEqual([
    { type: 'heading', level: 2, spans: [plain('Two ways')] },
    {
      type: 'text',
      spans: [
        plain('First, '),
        { look: 'strong', text: 'bold' },
        plain(', '),
        { look: 'em', text: 'slanted' },
        plain(' and '),
        { look: 'code', text: 'a * b' },
        plain(',\non two lines.'),
      ],
    },
    { type: 'entry', level: 0, mark: '1.', spans: [plain('one')] },
    { type: 'entry', level: 1, mark: '•', spans: [plain('inner '), { look: 'em', text: 'one' }] },
    { type: 'entry', level: 0, mark: '2.', spans: [plain('two')] },
    { type: 'quote', spans: [plain('said')] },
    { type: 'line' },
    {
      type: 'table',
      rows: [
        [[plain('a')], [plain('b')]],
        [[plain('1')], [{ look: 'strong', text: '2' }]],
      ],
    },
    { type: 'text', spans: [plain('See '), plain('the docs (https://example.org/a)'), plain('.')] },
    { type: 'code', text: '# no heading\nx = "**"' },
    { type: 'text', spans: [plain('End')] },
  ])
})

test.each([
  ['code whose end has not come yet', '```js\nlet a', [{ type: 'code', text: 'let a' }]],
  [
    'stars that are no looks',
    '2 * 3 * 4, a_b_c and **',
    [{ type: 'text', spans: [plain('2 * 3 * 4, a_b_c and **')] }],
  ],
  ['HTML', '<b onclick="x">no</b>', [{ type: 'text', spans: [plain('<b onclick="x">no</b>')] }]],
  ['a pipe in a sentence', '| is a pipe', [{ type: 'text', spans: [plain('| is a pipe')] }]],
  ['nothing', ' \n\n', []],
])('leaves %s as text', (_, text, blocks) => {
  expect(parseMarkdown(text)).toEqual(blocks)
})

test('a long answer is shown as it is', () => {
  const text = '**a** '.repeat(20_000)
  expect(parseMarkdown(text)).toEqual([{ type: 'text', spans: [plain(text)] }])
})
