import { useEffect, useRef, useState } from 'preact/hooks'
import { type Sort, sorts } from '../request-rows.ts'
import { Icon } from '../shapes.tsx'

export interface Column {
  readonly name: string
  readonly text: string
  /** Shown only where it was chosen. */
  readonly isExtra?: boolean
}

/** In the order in which they stand; a column is named as its order is. */
export const columns: Readonly<Record<Sort, Column>> = {
  when: { name: 'c-when', text: 'When' },
  model: { name: 'c-md', text: 'Model' },
  client: { name: 'c-cl', text: 'Client' },
  route: { name: 'c-rt', text: 'Path', isExtra: true },
  time: { name: 'c-bar', text: 'Time' },
  first: { name: 'c-fb', text: 'First byte', isExtra: true },
  cached: { name: 'c-ca', text: 'Cached' },
  prefill: { name: 'c-pf', text: 'Prefill' },
  tokens: { name: 'c-in', text: 'Tokens' },
  pace: { name: 'c-ps', text: 'tok/s' },
  status: { name: 'c-st', text: 'Status', isExtra: true },
  outcome: { name: 'c-out', text: 'Outcome' },
}

/** Its link opens the row, so it always stays. */
const FIXED: Sort = 'model'
const NAME = 'leasehold.columns'

/** The columns that are shown, as this browser remembers them. */
export function useColumns() {
  const [shown, show] = useState(readColumns)
  return {
    shown,
    /** `null`: the default columns. */
    choose: (next: readonly Sort[] | null) => {
      if (next === null) localStorage.removeItem(NAME)
      else localStorage.setItem(NAME, next.join())
      show(readColumns())
    },
  }
}

function readColumns(): readonly Sort[] {
  const kept = localStorage.getItem(NAME)?.split(',')
  return sorts.filter((sort) => sort === FIXED || (kept?.includes(sort) ?? !columns[sort].isExtra))
}

interface ChooserProps {
  readonly shown: readonly Sort[]
  choose(next: readonly Sort[] | null): void
}

/** A menu of the columns. Escape, a click beside it and a focus that leaves it close it. */
export function ColumnChooser({ shown, choose }: ChooserProps) {
  const menu = useRef<HTMLDetailsElement>(null)
  const close = () => menu.current?.removeAttribute('open')
  useEffect(() => {
    const leave = ({ target }: Event) => menu.current?.contains(target as Node) || close()
    addEventListener('pointerdown', leave)
    return () => removeEventListener('pointerdown', leave)
  }, [])
  return (
    <details
      class="columns hide-s"
      ref={menu}
      onKeyDown={(event) => {
        if (event.key !== 'Escape' || menu.current?.open !== true) return
        event.stopPropagation()
        close()
        menu.current.querySelector('summary')?.focus()
      }}
      onFocusOut={({ relatedTarget }) => {
        if (relatedTarget !== null && !menu.current?.contains(relatedTarget as Node)) close()
      }}
    >
      <summary class="btn bare">
        <Icon name="columns" size={14} /> Columns
      </summary>
      <div class="card" role="group" aria-label="Columns">
        {sorts
          .filter((sort) => sort !== FIXED)
          .map((sort) => (
            <label key={sort}>
              <input
                type="checkbox"
                checked={shown.includes(sort)}
                onChange={({ currentTarget: { checked } }) =>
                  choose(checked ? [...shown, sort] : shown.filter((one) => one !== sort))
                }
              />
              {columns[sort].text}
            </label>
          ))}
        <button type="button" class="btn" onClick={() => choose(null)}>
          Default columns
        </button>
      </div>
    </details>
  )
}
