import { render } from 'preact'
import { createApp } from './app.ts'
import { listenToKeys } from './keyboard.ts'
import { Page } from './page.tsx'

const THEMES = ['auto', 'light', 'dark'] as const
const THEME_NAME = 'leasehold.theme'
/** Countdowns are drawn this often, in milliseconds. */
const TICK_MS = 200

const root = document.getElementById('page') as HTMLElement
let theme = localStorage.getItem(THEME_NAME) ?? 'auto'
let isDue = false

/** Draws at most once per frame, however much has changed. */
const draw = () => {
  if (isDue) return
  isDue = true
  requestAnimationFrame(() => {
    isDue = false
    document.documentElement.dataset.theme = theme
    render(<Page app={app} theme={theme} onTheme={changeTheme} />, root)
  })
}
const changeTheme = () => {
  theme = THEMES[(THEMES.indexOf(theme as 'auto') + 1) % THEMES.length] ?? 'auto'
  localStorage.setItem(THEME_NAME, theme)
  draw()
}
const app = createApp(draw)
listenToKeys(app, changeTheme)
draw()
app.run()
setInterval(() => {
  if (app.state.history.cursor === null) draw()
}, TICK_MS)
