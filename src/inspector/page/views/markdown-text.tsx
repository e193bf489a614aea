import { type Block, parseMarkdown, type Span } from './markdown.ts'

/** An answer as its Markdown means it. It is text alone: nothing that a model writes is HTML here. */
export function MarkdownText({ text }: { readonly text: string }) {
  return (
    <div class="md">
      {parseMarkdown(text).map((block, index) => (
        <Part key={index} block={block} />
      ))}
    </div>
  )
}

function Part({ block }: { readonly block: Block }) {
  if (block.type === 'line') return <hr />
  if (block.type === 'code')
    return (
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
      <pre class="scrolls" tabIndex={0}>
        {block.text}
      </pre>
    )
  if (block.type === 'table')
    return (
      <table class="results">
        <tbody>
          {block.rows.map((cells, row) => (
            <tr key={row}>
              {cells.map((spans, column) => (
                <td key={column}>{row === 0 ? <b>{toElements(spans)}</b> : toElements(spans)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    )
  const said = toElements(block.spans)
  if (block.type === 'heading') return <p class={`h${Math.min(block.level, 3)}`}>{said}</p>
  if (block.type === 'quote') return <blockquote>{said}</blockquote>
  if (block.type !== 'entry') return <p>{said}</p>
  return (
    <p class="entry" style={{ paddingLeft: `${(block.level + 1) * 20}px` }}>
      <span class="mark">{`${block.mark} `}</span>
      {said}
    </p>
  )
}

function toElements(spans: readonly Span[]) {
  return spans.map(({ look, text }, index) => {
    if (look === 'plain') return text
    const Tag = look
    return <Tag key={index}>{text}</Tag>
  })
}
