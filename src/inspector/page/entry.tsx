import { render } from 'preact'
import { createApp } from './app.ts'
import { listenToKeys } from './keyboard.ts'
import { findGroup, findLook } from './look.ts'
import { listOwn } from './model.ts'
import { Page } from './page.tsx'
import { parseRoute } from './route.ts'

const THEMES = ['auto', 'light', 'dark'] as const
const THEME_NAME = 'leasehold.theme'
/** The page is drawn at most this often, however much happens, and countdowns this often, in milliseconds. */
const MIN_PAUSE_MS = 100
const TICK_MS = 250
/** Where no time is shown with tenths of a second, and with reduced motion. */
const SLOW_TICK_MS = 1_000
/** A time that is shorter than this is shown with tenths, or its ring goes round in sight, in milliseconds. */
const SHORT_MS = 30_000

const root = document.getElementById('page') as HTMLElement
const icon = document.querySelector<HTMLLinkElement>('link[rel=icon]') as HTMLLinkElement
const prefersStill = matchMedia('(prefers-reduced-motion: reduce)')
let theme = localStorage.getItem(THEME_NAME) ?? 'auto'
let areAsked = false
let isDue = false
let isAnswer = false
let timer: ReturnType<typeof setTimeout> | undefined
let tabTimer: ReturnType<typeof setTimeout> | undefined
let drawnAt = Number.NEGATIVE_INFINITY

/** Draws soon, however much has changed; nothing where nothing is seen. */
const draw = () => {
  if (isDue) return
  if (document.hidden) return tellTabLater()
  isDue = true
  const pauseMs = drawnAt + MIN_PAUSE_MS - performance.now()
  if (pauseMs > 0 && !isAnswer) timer = setTimeout(drawInFrame, pauseMs)
  else drawInFrame()
}
const drawInFrame = () => requestAnimationFrame(drawNow)
/** What a person does is answered in the next frame. */
const hurry = () => {
  isAnswer = true
  if (timer === undefined) return
  clearTimeout(timer)
  timer = undefined
  drawInFrame()
}
const drawNow = () => {
  isDue = false
  isAnswer = false
  timer = undefined
  drawnAt = performance.now()
  document.documentElement.dataset.theme = theme
  render(<Page app={app} theme={theme} onTheme={changeTheme} />, root)
  tellTab()
  // On a slow line the data of the first view comes before the other views.
  if (areAsked || (app.state.route.view === 'overview' && app.state.connection === 'connecting')) return
  areAsked = true
  loadViews()
}
const changeTheme = () => {
  theme = THEMES[(THEMES.indexOf(theme as 'auto') + 1) % THEMES.length] ?? 'auto'
  localStorage.setItem(THEME_NAME, theme)
  draw()
}

const icons = {
  bad: '<path d="M8 1 15 14H1z" fill="#d23b30"/>',
  use: '<circle cx="8" cy="8" r="6" fill="#1f9d70"/>',
  quiet: '<circle cx="8" cy="8" r="5" fill="none" stroke="#888" stroke-width="2.5"/>',
} as const

/** The tab tells what is worst. */
const tellTab = () => {
  const looks = listOwn(app.shown().model).map(findLook)
  const failing = looks.filter((look) => findGroup(look) === 'Failing').length
  const busy = looks.filter((look) => look === 'use').length
  const parts = [
    ...(app.state.connection === 'lost' ? ['no connection'] : []),
    ...(failing > 0 ? [`${failing} failing`] : []),
    ...(busy > 0 ? [`${busy} in use`] : []),
  ]
  const title = `${parts.join(' · ') || 'quiet'} – leasehold`
  if (document.title !== title) document.title = title
  const shape = icons[failing > 0 ? 'bad' : busy > 0 ? 'use' : 'quiet']
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${shape}</svg>`
  const href = `data:image/svg+xml,${encodeURIComponent(svg)}`
  if (icon.getAttribute('href') !== href) icon.setAttribute('href', href)
}

/** Its tab is all that is seen of a page in the background. */
const tellTabLater = () => {
  if (tabTimer !== undefined) return
  tabTimer = setTimeout(() => {
    tabTimer = undefined
    tellTab()
  }, SLOW_TICK_MS)
}

const app = createApp(draw)
for (const type of ['keydown', 'input', 'click', 'hashchange']) addEventListener(type, hurry, true)
listenToKeys(app, changeTheme)
addEventListener('hashchange', () => app.go(parseRoute(location.hash)))
document.addEventListener('visibilitychange', draw)
draw()
app.run()

/** The other views, then the tools: asked for once the first view is there, and again later where the line is down. */
const loadViews = () => load(() => import('./views.ts'), loadTools)
const loadTools = () => load(() => import('./tool-views.ts'))
const load = <Part extends Parameters<typeof app.equip>[0]>(
  fetchPart: () => Promise<Part>,
  then: () => void = () => {},
) => {
  fetchPart().then(
    (part) => {
      app.equip(part)
      draw()
      then()
    },
    () => setTimeout(load, 2_000, fetchPart, then),
  )
}

/** A moment that is held, and one of a gateway that is gone, stands still. */
const tick = () => {
  const { history, recording, connection } = app.state
  if (history.cursor === null && recording === null && connection === 'open') draw()
  const nowMs = app.nowMs()
  const isQuick = Object.values(history.latest.services).some(
    ({ timers, state, enteredAtMs }) =>
      timers.some(({ endsAtMs }) => endsAtMs < nowMs + SHORT_MS) ||
      (state.startsWith('starting') && nowMs < enteredAtMs + SHORT_MS),
  )
  setTimeout(tick, isQuick && !prefersStill.matches ? TICK_MS : SLOW_TICK_MS)
}
tick()
