import { hasTag } from '../../../machines/provider/tags.ts'
import type { App } from './app.ts'

/** What the keys do, where no field wants them for itself. */
export function listenToKeys(app: App, changeTheme: () => void): void {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const target = event.target as HTMLElement
    if (target.matches('input:not([type=range]), textarea, select')) return
    const isButton = target.matches('button, a')
    const does = findDeed(app, event, isButton, changeTheme)
    if (does === undefined) return
    event.preventDefault()
    does()
  })
}

function findDeed(app: App, { key, shiftKey }: KeyboardEvent, isButton: boolean, changeTheme: () => void) {
  const { isHelpOpen, recording } = app.state
  switch (key) {
    case ' ':
      return isButton ? undefined : () => app.pause()
    case 'ArrowLeft':
      return () => app.step(shiftKey ? -10 : -1)
    case 'ArrowRight':
      return () => app.step(shiftKey ? 10 : 1)
    case 'Home':
      return () => app.seek(0)
    case 'End':
      return () => app.seek(recording === null ? null : Number.MAX_SAFE_INTEGER)
    case 'ArrowUp':
      return () => select(app, -1)
    case 'ArrowDown':
      return () => select(app, 1)
    case 's':
    case 'S':
      return () => startOrStop(app)
    case 'o':
    case 'O':
      return () => document.getElementById('recording')?.click()
    case 't':
    case 'T':
      return changeTheme
    case '?':
      return () => app.toggleHelp()
    case 'Escape':
      return isHelpOpen ? () => app.toggleHelp() : undefined
    default:
      return undefined
  }
}

function select(app: App, by: number): void {
  const keys = Object.keys(app.shown().model.services)
  const at = keys.indexOf(app.state.selected ?? '')
  const next = keys[Math.max(0, Math.min(keys.length - 1, at + by))]
  if (next !== undefined) app.select(next)
}

function startOrStop(app: App): void {
  const { selected, history } = app.state
  const service = selected === null ? undefined : app.shown().model.services[selected]
  if (service === undefined || history.cursor !== null) return
  if (hasTag(service.state, 'down')) void app.start(service.key)
  else if (!hasTag(service.state, 'stopping')) void app.stop(service.key)
}
