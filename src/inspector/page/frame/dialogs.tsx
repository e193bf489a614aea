import type { ComponentChildren } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { App } from '../app.ts'
import { lookWords } from '../look.ts'
import { formatRoute, views } from '../route.ts'
import { Glyph, Icon } from '../shapes.tsx'
import { viewNames } from './rail.tsx'
import type { Told } from './view-frame.tsx'

interface DialogProps {
  readonly label: string
  readonly id: string
  readonly children: ComponentChildren
  onClose(): void
}

function Dialog({ label, id, children, onClose }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null)
  useLayoutEffect(() => element.current?.showModal(), [])
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes every dialog; the click is for a pointer beside it
    <dialog
      ref={element}
      id={id}
      aria-label={label}
      onClose={onClose}
      onClick={(event) => event.target === element.current && onClose()}
    >
      {children}
    </dialog>
  )
}

const keys: readonly (readonly [string, string])[] = [
  ['1 – 6', 'the views'],
  ['Ctrl K', 'search and commands'],
  ['/', 'filter this view'],
  ['↑ ↓ or K J', 'row above, row below'],
  ['Enter', 'open the row'],
  ['S', 'start or stop the service'],
  ['Space', 'hold the moment, or go on'],
  ['← →', 'one change back or on; with Shift ten'],
  ['Home End', 'the oldest moment; now'],
  ['O', 'open a recording'],
  ['T', 'light, dark, or as the system'],
  ['Esc', 'leave a field, a held moment, then the view'],
  ['?', 'these keys'],
]

export function Keys({ app }: { readonly app: App }) {
  return (
    <Dialog id="keys" label="Keys" onClose={() => app.show(null)}>
      <h2>Keys</h2>
      <dl>
        {keys.map(([key, meaning]) => (
          <div key={key}>
            <dt>{meaning}</dt>
            <dd>
              <kbd>{key}</kbd>
            </dd>
          </div>
        ))}
      </dl>
      <button type="button" class="btn" onClick={() => app.show(null)}>
        Close
      </button>
    </Dialog>
  )
}

interface Item {
  readonly name: string
  readonly detail: string
  readonly words: string
  readonly icon: ComponentChildren
  does(): void
}

interface SearchProps {
  readonly app: App
  readonly told: readonly Told[]
  onTheme(): void
}

/** Finds a service, a view or a command by its name. */
export function Search({ app, told, onTheme }: SearchProps) {
  const [text, type] = useState('')
  const [at, move] = useState(0)
  const wanted = text.trim().toLowerCase()
  const items = listItems({ app, told, onTheme }).filter(({ words }) => words.toLowerCase().includes(wanted))
  const chosen = Math.min(at, items.length - 1)
  const run = (item: Item | undefined) => {
    if (item === undefined) return
    app.show(null)
    item.does()
  }
  return (
    <Dialog id="search" label="Search and commands" onClose={() => app.show(null)}>
      <input
        autofocus
        role="combobox"
        aria-expanded="true"
        aria-controls="found"
        aria-activedescendant={items.length > 0 ? `found-${chosen}` : undefined}
        aria-label="Search"
        placeholder="Go to a service or a view, or do something"
        autocomplete="off"
        value={text}
        onInput={({ currentTarget }) => {
          type(currentTarget.value)
          move(0)
        }}
        onKeyDown={(event) => {
          if (event.key === 'ArrowDown') move(Math.min(items.length - 1, chosen + 1))
          else if (event.key === 'ArrowUp') move(Math.max(0, chosen - 1))
          else if (event.key === 'Enter') run(items[chosen])
          else return
          event.preventDefault()
        }}
      />
      <ul id="found" role="listbox" aria-label="Found">
        {items.slice(0, 60).map((item, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are those of the field above, as of every combobox
          // biome-ignore lint/a11y/useFocusableInteractive: the field above keeps the focus
          <li
            key={item.name + item.detail}
            id={`found-${index}`}
            role="option"
            aria-selected={index === chosen}
            onClick={() => run(item)}
          >
            {item.icon}
            <span class="cut">{item.name}</span>
            <span class="end">{item.detail}</span>
          </li>
        ))}
      </ul>
      {items.length === 0 && <p class="soft">Nothing is called that.</p>}
    </Dialog>
  )
}

function listItems({ app, told, onTheme }: SearchProps): readonly Item[] {
  const to = (hash: string) => () => {
    location.hash = hash
  }
  const item = (
    name: string,
    detail: string,
    icon: ComponentChildren,
    does: () => void,
    more = '',
  ): Item => ({
    name,
    detail,
    icon,
    does,
    words: `${name} ${more}`,
  })
  return [
    ...views.map((view) => item(viewNames[view], 'view', <Icon name={view} />, to(formatRoute(view)))),
    ...told.map(({ service, look }) =>
      item(
        service.name,
        lookWords[look],
        <Glyph look={look} />,
        to(formatRoute('service', service.name)),
        service.models.flatMap(({ id, aliases }) => [id, ...aliases]).join(' '),
      ),
    ),
    item('Stop all services', 'their requests finish first', <Icon name="close" />, () => {
      if (confirm('Stop all services? Their open requests may finish first.')) void app.stopAll()
    }),
    item('Copy the base URL', `${location.host}/v1`, <Icon name="link" />, () =>
      app.copy(`${location.origin}/v1`, 'The base URL'),
    ),
    item('Open a recording', 'O', <Icon name="file" />, () => document.getElementById('recording')?.click()),
    item('Change the colours', 'T', <Icon name="theme" />, onTheme),
    item('Keys', '?', <Icon name="help" />, () => app.show('keys')),
  ]
}
