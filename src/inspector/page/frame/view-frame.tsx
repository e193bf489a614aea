import type { ComponentChildren } from 'preact'
import { useLayoutEffect, useRef } from 'preact/hooks'
import type { Explanation } from '../../../explanation/situation.ts'
import type { App } from '../app.ts'
import { findLook, type Look, lookWords } from '../look.ts'
import type { PageModel, ServiceView } from '../model.ts'
import { explainView } from '../view-explanation.ts'

/** What every view is given: the moment that is shown, and the actions. */
export interface ViewProps {
  readonly app: App
  readonly model: PageModel
  /** On the clock of the events. */
  readonly atMs: number
  /** Whether nothing can be changed: a moment is held, a recording is shown, or the gateway is not there. */
  readonly isStill: boolean
}

/** A service, how it looks and what is to be said of it. */
export interface Told {
  readonly service: ServiceView
  readonly look: Look
  readonly explanation: Explanation
}

export function tell(service: ServiceView, model: PageModel, atMs: number, lastLine?: string): Told {
  const look = findLook({ ...service, key: service.key })
  const explanation = explainView(service, model, atMs, lastLine)
  // Of a time before the events that are kept it is not known how many requests used it.
  const isUncounted = look === 'use' && service.leases === 0
  const told = isUncounted ? { ...explanation, title: lookWords.use, short: lookWords.use } : explanation
  return { service, look, explanation: told }
}

interface ScreenProps {
  readonly view: ViewProps
  readonly title: ComponentChildren
  readonly tools?: ComponentChildren
  readonly children: ComponentChildren
}

/** How far each list was scrolled; it opens there again. */
const scrolled = new Map<string, number>()

/** One view: its head, which stays in sight, what concerns all of them, and its body. */
export function Screen({ view, title, tools, children }: ScreenProps) {
  const { later } = view.app
  const main = useRef<HTMLElement>(null)
  const { route } = view.app.state
  useLayoutEffect(() => {
    const element = main.current
    if (element === null || route.view === 'service') return
    element.scrollTop = scrolled.get(route.view) ?? 0
    return () => void scrolled.set(route.view, element.scrollTop)
  }, [])
  return (
    <main id="view" tabIndex={-1} ref={main}>
      <header class="head">
        <h1>{title}</h1>
        <div class="tools">{tools}</div>
      </header>
      {later !== undefined && <later.Banners {...view} />}
      <div class="page">{children}</div>
    </main>
  )
}
