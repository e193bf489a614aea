import { useState } from 'preact/hooks'
import type { App } from './app.ts'
import { Rail, Tabs } from './frame/rail.tsx'
import { TimeBar } from './frame/time-bar.tsx'
import { Screen, type Told, tell, type ViewProps } from './frame/view-frame.tsx'
import { listOwn } from './model.ts'
import { Overview } from './views/overview.tsx'

export interface PageProps {
  readonly app: App
  readonly theme: string
  onTheme(): void
}

/** The whole page at the moment that is shown. */
export function Page({ app, theme, onTheme }: PageProps) {
  const { connection, recording, history, route, notice, dialog } = app.state
  const { later } = app
  const { model, atMs } = app.shown()
  const isLost = recording === null && connection !== 'open'
  const isStill = history.cursor !== null || recording !== null || isLost
  const told: readonly Told[] = listOwn(model).map((one) => tell(one, model, atMs))
  const view: ViewProps = { app, model, atMs, isStill }
  const Shown = route.view === 'overview' ? Overview : (later?.[route.view] ?? Coming)
  if (connection === 'locked' && recording === null) return <Lock app={app} />
  return (
    <>
      {/* biome-ignore lint/a11y/useValidAnchor: it goes to a part of the page, and the address names the view */}
      <a class="skip" href="#view" onClick={focusView}>
        Skip to the content
      </a>
      <div id="app" class={isLost ? 'dim' : ''} data-connection={connection}>
        <Rail {...view} told={told} theme={theme} onTheme={onTheme} />
        <Shown key={`${route.view} ${route.view === 'service' ? route.id : ''}`} {...view} told={told} />
        <TimeBar {...view} />
        <Tabs app={app} told={told} />
      </div>
      <OpenFile app={app} />
      <p id="toast" role="status">
        {notice}
      </p>
      {later && dialog === 'keys' && <later.Keys app={app} />}
      {later && dialog === 'search' && <later.Search app={app} told={told} onTheme={onTheme} />}
    </>
  )
}

function Coming(view: ViewProps) {
  return (
    <Screen view={view} title="">
      <p class="soft">This view is loading…</p>
    </Screen>
  )
}

/** The address stays: it names the view. */
function focusView(event: Event): void {
  event.preventDefault()
  document.getElementById('view')?.focus()
}

function OpenFile({ app }: { readonly app: App }) {
  return (
    <input
      type="file"
      id="recording"
      accept=".ndjson,.jsonl,.json,.txt"
      hidden
      onChange={async ({ currentTarget }) => {
        const [chosen] = currentTarget.files ?? []
        if (chosen !== undefined) app.open(chosen.name, await chosen.text())
        currentTarget.value = ''
      }}
    />
  )
}

function Lock({ app }: { readonly app: App }) {
  const [key, type] = useState('')
  return (
    <main class="alone">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault()
          app.unlock(key)
        }}
      >
        <h1>This gateway asks for a key</h1>
        <p class="soft">
          One of <code>leasehold.controlKeys</code>, or of <code>leasehold.apiKeys</code> when there are none.
          It is kept for this tab only.
        </p>
        <label for="key">Key</label>
        <div class="row">
          <input
            id="key"
            class="field grow"
            type="password"
            autocomplete="off"
            value={key}
            onInput={(event) => type(event.currentTarget.value)}
          />
          <button type="submit" class="btn main" disabled={key === ''}>
            Open
          </button>
        </div>
      </form>
    </main>
  )
}
