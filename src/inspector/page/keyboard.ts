import { hasTag } from '../../../machines/provider/tags.ts'
import type { App } from './app.ts'
import { findNamed } from './model.ts'
import { formatRoute, views } from './route.ts'

/** What the keys do, where no field wants them for itself. */
export function listenToKeys(app: App, changeTheme: () => void): void {
  addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault()
      return app.show(app.state.dialog === 'search' ? null : 'search')
    }
    if (event.ctrlKey || event.metaKey || event.altKey || app.state.dialog !== null) return
    const target = event.target as HTMLElement
    if (target.matches('input:not([type=range], [type=radio]), textarea, select')) {
      if (event.key === 'Escape') leaveField(app, target as HTMLInputElement)
      return
    }
    const does = findDeed(app, event, target, changeTheme)
    if (does === undefined) return
    event.preventDefault()
    does()
  })
}

/** A field that filters is emptied first. */
function leaveField(app: App, field: HTMLInputElement): void {
  if (field.type === 'search' && field.value !== '') {
    field.value = ''
    field.dispatchEvent(new Event('input', { bubbles: true }))
  }
  field.blur()
  app.choose(null)
}

function findDeed(
  app: App,
  { key, shiftKey }: KeyboardEvent,
  target: HTMLElement,
  changeTheme: () => void,
): (() => void) | undefined {
  const { recording, row } = app.state
  const isControl = target.matches('button, a, summary, [role=button], [role=tab], [type=radio]')
  const by = shiftKey ? 10 : 1
  if (target.matches('[type=radio]') && key.startsWith('Arrow')) return undefined
  switch (key) {
    case ' ':
      return isControl ? undefined : () => app.pause()
    case 'ArrowLeft':
      return () => app.step(-by)
    case 'ArrowRight':
      return () => app.step(by)
    case 'Home':
      return () => app.seekStart()
    case 'End':
      return () => app.seek(recording === null ? null : Number.MAX_SAFE_INTEGER)
    case 'ArrowUp':
    case 'k':
      return findMove(app, -1, target)
    case 'ArrowDown':
    case 'j':
      return findMove(app, 1, target)
    case 'Enter':
      return row === null || isControl ? undefined : () => openRow(row)
    case '/':
      return () => document.querySelector<HTMLElement>('main input[type=search]')?.focus()
    case 'Escape':
      return () => leave(app)
    case '?':
      return () => app.show('keys')
    default:
      return findLetterDeed(app, key.toLowerCase(), changeTheme)
  }
}

function findLetterDeed(app: App, key: string, changeTheme: () => void): (() => void) | undefined {
  const view = /^[1-6]$/.test(key) ? views[Number(key) - 1] : undefined
  if (view !== undefined) return () => go(formatRoute(view))
  if (key === 's') return () => startOrStop(app)
  if (key === 'o') return () => document.getElementById('recording')?.click()
  return key === 't' ? changeTheme : undefined
}

function go(hash: string): void {
  location.hash = hash
}

/** The rows of a view are its links that carry their key, in the order in which they stand. */
function listRows(): readonly HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>('main [data-row]')]
}

/** Nothing to move to: the view scrolls instead. What scrolls by itself keeps its arrows. */
function findMove(app: App, by: number, target: HTMLElement): (() => void) | undefined {
  const rows = listRows()
  if (rows.length === 0 || target.matches('[role=log], pre, .scrolls')) return undefined
  return () => {
    const at = rows.findIndex(({ dataset }) => dataset.row === app.state.row)
    const next = rows[at === -1 && by < 0 ? rows.length - 1 : Math.max(0, Math.min(rows.length - 1, at + by))]
    app.choose(next?.dataset.row ?? null)
    next?.scrollIntoView({ block: 'nearest' })
  }
}

function openRow(row: string): void {
  listRows()
    .find(({ dataset }) => dataset.row === row)
    ?.querySelector('a')
    ?.click()
}

/** A held moment, then what is selected, then the view. */
function leave(app: App): void {
  const { history, recording, route, row } = app.state
  if (recording === null && history.cursor !== null) return app.seek(null)
  if (row !== null) return app.choose(null)
  if (route.id !== null && route.view !== 'service') return go(formatRoute(route.view))
  go(formatRoute('overview'))
}

function startOrStop(app: App): void {
  const { row, route, history, recording } = app.state
  const { model } = app.shown()
  const service = findNamed(model, route.view === 'service' ? route.id : row)
  if (service === undefined || history.cursor !== null || recording !== null) return
  if (hasTag(service.state, 'down')) return void app.start(service.key)
  if (hasTag(service.state, 'stopping')) return
  // One that is in use is asked about: a key is easily pressed.
  const isInUse = service.leases > 0
  if (!isInUse || confirm(`Stop ${service.name}? Its ${service.leases} open requests may finish first.`))
    void app.stop(service.key)
}
