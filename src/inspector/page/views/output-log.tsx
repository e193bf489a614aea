import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { App, PrintedLine } from '../app.ts'
import { formatClock } from '../display-text.ts'
import { download } from '../download.ts'
import { Icon } from '../shapes.tsx'

/** Height of a line, in pixels: the same for all, so that only those in sight need to be there. */
const LINE = 20
/** Lines beyond either edge of what is in sight. */
const AROUND = 12
/** Wrapped lines differ in height: so many are drawn, whether in sight or not. */
const MAX_WRAPPED = 500

type Level = NonNullable<PrintedLine['level']>

const levels: readonly (readonly [Level, string])[] = [
  ['all', 'All'],
  ['warn', 'Warnings'],
  ['bad', 'Errors'],
]

/** How a line is meant, told from its words: servers mark their levels in many ways. */
export function findLevel(text: string): Level {
  if (
    /\b(error|fatal|panic|critical|exception|traceback|failed|failure|out of memory|abort(ed)?)\b|^E /i.test(
      text,
    )
  )
    return 'bad'
  return /\bwarn(ing)?\b|^W /i.test(text) ? 'warn' : 'all'
}

interface LogProps {
  readonly app: App
  readonly title: string
  readonly name: string
  readonly lines: readonly PrintedLine[]
  /** The line that says why it failed. */
  readonly cause: string | null
  readonly isRecording: boolean
  /** What is said where there are no lines. */
  readonly none: string
}

/** What a service prints, or leasehold logs: followed, searched, copied. It is text, whatever it contains. */
export function Log({ app, title, name, lines, cause, isRecording, none }: LogProps) {
  const what = title.toLowerCase()
  const [wanted, search] = useState('')
  const [level, choose] = useState<Level>('all')
  const [isFollowing, follow] = useState(true)
  const [isWrapped, wrap] = useState(false)
  const find = useMemo(() => createFinder(wanted), [wanted])
  const found = useMemo(() => filterLines(lines, find, level), [lines, find, level])
  const shown = useMemo(() => (isWrapped ? found.slice(-MAX_WRAPPED) : found), [found, isWrapped])
  const text = () => found.map((line) => `${line.text}\n`).join('')
  return (
    <section class="card output" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <small class="hide-s">
          {shown.length === lines.length
            ? `${lines.length} lines`
            : `${shown.length} of ${lines.length} lines`}
        </small>
        <span class="tools">
          <span class="seg hide-s" role="group" aria-label="Level">
            {levels.map(([value, word]) => (
              <button key={value} type="button" aria-pressed={level === value} onClick={() => choose(value)}>
                {word}
              </button>
            ))}
          </span>
          <span class="find">
            <Icon name="search" size={14} />
            <input
              class="field"
              type="search"
              placeholder={`Search ${what}`}
              aria-label={`Search ${what}`}
              title={'A text, or a pattern between slashes: /slot \\d+/'}
              value={wanted}
              onInput={({ currentTarget }) => search(currentTarget.value)}
            />
          </span>
          <button type="button" class="btn" aria-pressed={isFollowing} onClick={() => follow(!isFollowing)}>
            <i class="led" />
            Follow
          </button>
          <button type="button" class="btn" aria-pressed={isWrapped} onClick={() => wrap(!isWrapped)}>
            <i class="led" />
            Wrap
          </button>
          <button
            type="button"
            class="btn sq bare"
            aria-label={`Copy the ${what}`}
            title={`Copy the ${what}`}
            onClick={() => app.copy(text(), `The ${what}`)}
          >
            <Icon name="copy" size={14} />
          </button>
          <button
            type="button"
            class="btn sq bare"
            aria-label={`Download the ${what}`}
            title={`Download the ${what}`}
            onClick={() => download(`${name}.log`, text())}
          >
            <Icon name="download" size={14} />
          </button>
        </span>
      </header>
      {lines.length === 0 ? (
        <p class="none">{none}</p>
      ) : (
        <Lines
          {...{ app, title, name }}
          {...{ shown, cause, find, isFollowing, isWrapped, isRecording }}
          onFollow={follow}
        />
      )}
    </section>
  )
}

/** From where to where a line has what is searched for; `null`: it does not have it. */
type Find = (text: string) => readonly [number, number] | null

/** `/slot \\d+/` is a pattern; an invalid one is searched for as it is. `null`: nothing is searched for. */
function createFinder(wanted: string): Find | null {
  if (wanted === '') return null
  const sought = wanted.toLowerCase()
  const [, source] = /^\/(.+)\/$/.exec(wanted) ?? []
  try {
    const pattern = source === undefined ? undefined : new RegExp(source, 'i')
    if (pattern !== undefined)
      return (text) => {
        const found = pattern.exec(text)
        return found && [found.index, found.index + found[0].length]
      }
  } catch {
    // It is not a pattern.
  }
  return (text) => {
    const at = text.toLowerCase().indexOf(sought)
    return at === -1 ? null : [at, at + sought.length]
  }
}

function filterLines(lines: readonly PrintedLine[], find: Find | null, level: Level): readonly PrintedLine[] {
  if (find === null && level === 'all') return lines
  return lines.filter(({ text, level: found = findLevel(text) }) => {
    return (find === null || find(text) !== null) && (level === 'all' || found === 'bad' || found === level)
  })
}

interface LinesProps extends Omit<LogProps, 'lines' | 'none'> {
  readonly shown: readonly PrintedLine[]
  readonly find: Find | null
  readonly isFollowing: boolean
  readonly isWrapped: boolean
  onFollow(isFollowing: boolean): void
}

function Lines({
  app,
  title,
  name,
  shown,
  cause,
  find,
  isFollowing,
  isWrapped,
  isRecording,
  onFollow,
}: LinesProps) {
  const box = useRef<HTMLDivElement>(null)
  const [top, scroll] = useState(0)
  const height = box.current?.clientHeight ?? 300
  const count = isWrapped ? MAX_WRAPPED : Math.ceil(height / LINE) + 2 * AROUND
  const end = Math.max(0, shown.length * LINE - height)
  const from = isWrapped
    ? 0
    : Math.max(0, Math.floor((isFollowing ? end : Math.min(top, end)) / LINE) - AROUND)
  useLayoutEffect(() => {
    if (isFollowing && box.current !== null) box.current.scrollTop = box.current.scrollHeight
  }, [shown, isFollowing, isWrapped])
  return (
    <div
      class={`log scrolls ${isWrapped ? 'wraps' : ''}`}
      role="log"
      aria-live="off"
      aria-label={`${title} of ${name}`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
      tabIndex={0}
      ref={box}
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        scroll(scrollTop)
        const isAtEnd = scrollHeight - scrollTop - clientHeight < LINE
        if (isAtEnd !== isFollowing) onFollow(isAtEnd)
      }}
    >
      <pre style={isWrapped ? undefined : { height: `${shown.length * LINE}px` }}>
        {shown.slice(from, from + count).map((line, index) => (
          <span
            key={line.number}
            class={`line ${line.text === cause ? 'cause' : line.stream === 'leasehold' ? 'ours' : (line.level ?? findLevel(line.text))}`}
            style={isWrapped ? undefined : { top: `${(from + index) * LINE}px` }}
          >
            {!isRecording && <time>{formatClock(app.wallMs(line.atMs))}</time>}
            <Marked line={line} find={find} />
          </span>
        ))}
      </pre>
    </div>
  )
}

/** A line in parts: its looks as classes, and what is searched for. */
function Marked({
  line: { text, styles = [] },
  find,
}: {
  readonly line: PrintedLine
  readonly find: Find | null
}) {
  const found = find?.(text) ?? null
  if (found === null && styles.length === 0) return <span>{`${text}\n`}</span>
  const cuts = [
    ...new Set([0, ...styles.flatMap(([from, to]) => [from, to] as const), ...(found ?? []), text.length]),
  ]
  cuts.sort((a, b) => a - b)
  return (
    <span>
      {cuts.slice(1).map((to, index) => {
        const from = cuts[index] ?? 0
        const names = styles.find(([start, end]) => start <= from && from < end)?.[2]
        const Tag = found !== null && from >= found[0] && from < found[1] ? 'mark' : 'span'
        return (
          <Tag key={from} class={names?.replace(/\w+/g, 'sgr-$&')}>
            {text.slice(from, to)}
          </Tag>
        )
      })}
      {'\n'}
    </span>
  )
}
