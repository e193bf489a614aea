/** A run of text with one look. A link is told as its text and address: what a model writes leads nowhere. */
export interface Span {
  readonly look: 'plain' | 'code' | 'strong' | 'em'
  readonly text: string
}

/** A part of an answer. `level`: how deep a heading or an entry of a list stands. */
export type Block =
  | { readonly type: 'text' | 'quote'; readonly spans: readonly Span[] }
  | { readonly type: 'heading'; readonly level: number; readonly spans: readonly Span[] }
  | { readonly type: 'entry'; readonly level: number; readonly mark: string; readonly spans: readonly Span[] }
  | { readonly type: 'code'; readonly text: string }
  | { readonly type: 'table'; readonly rows: readonly (readonly (readonly Span[])[])[] }
  | { readonly type: 'line' }

/** A look spans at most 500 characters: text without an end of anything is still read once. */
const SPAN =
  /(`{1,3})(.{1,500}?)\1|\*\*(?=\S)(.{1,500}?)\*\*|__(?=\S)(.{1,500}?)__|\*(?=\S)([^*\n]{1,500})\*|\b_(?=\S)([^_\n]{1,500})_\b|\[([^\]\n]{1,500})\]\(([^)\s]{1,500})\)/g
/** A longer answer is shown as it is: it would be read again with each of its parts, in characters. */
const MAX_TEXT = 60_000

/** The Markdown that models write most, as parts of text: headings, lists, tables, code, bold and italic. */
export function parseMarkdown(text: string): readonly Block[] {
  if (text.length > MAX_TEXT) return [{ type: 'text', spans: [{ look: 'plain', text }] }]
  const blocks: Block[] = []
  let lines: string[] = []
  const endText = () => {
    const said = lines.join('\n').trim()
    lines = []
    if (said !== '') blocks.push({ type: 'text', spans: parseSpans(said) })
  }
  const add = (block: Block) => {
    endText()
    blocks.push(block)
  }
  const all = text.split('\n')
  const findLine = (from: number, is: (line: string) => boolean) => {
    let at = from
    while (at < all.length && !is(all[at] ?? '')) at += 1
    return at
  }
  for (let at = 0; at < all.length; at += 1) {
    const line = all[at] ?? ''
    const [, fence] = /^\s*(```+|~~~+)/.exec(line) ?? []
    if (fence !== undefined) {
      // While it streams, its end has not come yet.
      const end = findLine(at + 1, (one) => one.trim().startsWith(fence))
      add({ type: 'code', text: all.slice(at + 1, end).join('\n') })
      at = end
    } else if (isRow(line) && /^\s*\|?[\s:|-]*-[\s:|-]*$/.test(all[at + 1] ?? '')) {
      const rows = all
        .slice(
          at,
          findLine(at, (one) => !isRow(one)),
        )
        .filter((_, index) => index !== 1)
      add({ type: 'table', rows: rows.map(parseRow) })
      at += rows.length
    } else if (!addLine(line, add)) {
      if (line.trim() === '') endText()
      else lines.push(line)
    }
  }
  endText()
  return blocks
}

/** Whether a line is a part by itself. */
function addLine(line: string, add: (block: Block) => void): boolean {
  const [, marks, title] = /^(#{1,6})\s+(.*)$/.exec(line) ?? []
  const [, indent, mark, entry] = /^(\s*)([-*+]|\d+[.)])\s+(.*)$/.exec(line) ?? []
  const [, quoted] = /^>\s?(.*)$/.exec(line) ?? []
  if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) add({ type: 'line' })
  else if (title !== undefined) add({ type: 'heading', level: marks?.length ?? 1, spans: parseSpans(title) })
  else if (entry !== undefined && mark !== undefined)
    add({
      type: 'entry',
      level: Math.min(4, Math.floor((indent?.length ?? 0) / 2)),
      mark: /\d/.test(mark) ? mark : '•',
      spans: parseSpans(entry),
    })
  else if (quoted !== undefined) add({ type: 'quote', spans: parseSpans(quoted) })
  else return false
  return true
}

function isRow(line: string): boolean {
  return line.trim().startsWith('|')
}

function parseRow(line: string): readonly (readonly Span[])[] {
  return line
    .trim()
    .replace(/^\||\|$/g, '')
    .split('|')
    .map((cell) => parseSpans(cell.trim()))
}

function parseSpans(text: string): readonly Span[] {
  const spans: Span[] = []
  let from = 0
  const add = (look: Span['look'], said: string) => {
    if (said !== '') spans.push({ look, text: said })
  }
  for (const found of text.matchAll(SPAN)) {
    const [whole, , code, strong = found[4], , em = found[6], , name, address] = found
    add('plain', text.slice(from, found.index))
    if (code !== undefined) add('code', code)
    else if (strong !== undefined) add('strong', strong)
    else if (em !== undefined) add('em', em)
    else add('plain', name === address ? (name ?? whole) : `${name} (${address})`)
    from = found.index + whole.length
  }
  add('plain', text.slice(from))
  return spans
}
