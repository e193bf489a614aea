import type { App } from '../app.ts'
import { Icon } from '../shapes.tsx'

interface FilterFieldProps {
  readonly app: App
  readonly label: string
}

/** Filters the rows of a view; `/` goes to it. */
export function FilterField({ app, label }: FilterFieldProps) {
  return (
    <span class="find">
      <Icon name="search" size={14} />
      <input
        class="field"
        type="search"
        // A phone has no room for more.
        placeholder="Filter"
        aria-label={label}
        title={label}
        value={app.state.filter}
        onInput={({ currentTarget }) => app.filter(currentTarget.value)}
      />
      <span class="hint" aria-hidden="true">
        <kbd>/</kbd>
      </span>
    </span>
  )
}
