import type { ComponentChildren } from 'preact'
import { Icon } from '../shapes.tsx'
import type { OverviewProps } from './overview.tsx'

/** Why there is no service, and what to do about it. */
export function Empty({ app, model }: OverviewProps) {
  const { connection, recording, status } = app.state
  if (recording !== null)
    return (
      <Hero title="No service at this moment of the recording">
        <p class="soft">Step on with → to see them come.</p>
      </Hero>
    )
  if (connection === 'connecting')
    return (
      <Hero title="Connecting…">
        <p class="soft">The gateway is asked what runs.</p>
      </Hero>
    )
  if (model.isClosed || connection === 'lost')
    return (
      <Hero title="leasehold has ended">
        <p class="soft">Everything that it ran is stopped. This page goes on by itself when it is back.</p>
      </Hero>
    )
  if ((status?.config.unavailable.length ?? 0) > 0)
    return (
      <Hero title="No provider can be used">
        <p class="soft">Cure what is named below, and start leasehold again.</p>
      </Hero>
    )
  return (
    <Hero title="No service is configured">
      <p class="soft">
        leasehold starts a model server when a request needs it, and stops it when no request does. Name a
        server under <code>models.providers</code> in <code>leasehold.json5</code>, and start leasehold again:
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre class="code" tabIndex={0}>
        {EXAMPLE}
      </pre>
      <p class="row">
        <button type="button" class="btn main" onClick={() => app.copy(EXAMPLE, 'The example')}>
          <Icon name="copy" size={14} /> Copy the example
        </button>
        <button type="button" class="btn" onClick={() => document.getElementById('recording')?.click()}>
          <Icon name="file" size={14} /> Open a recording
        </button>
      </p>
      <p class="soft">
        Or try it without a model: <code>leasehold serve --config builtin:demo</code>
      </p>
    </Hero>
  )
}

function Hero({ title, children }: { readonly title: string; readonly children: ComponentChildren }) {
  return (
    <div class="hero">
      <h2>{title}</h2>
      {children}
    </div>
  )
}

const EXAMPLE = `{ models: { providers: { llama: {
  baseUrl: 'http://127.0.0.1:8080/v1',
  localService: {
    command: '/usr/local/bin/llama-server',
    args: ['-m', '/models/qwen3-8b.gguf', '--port', '8080'],
    healthUrl: 'http://127.0.0.1:8080/health',
    idleStopMs: 600000,
  },
  models: [{ id: 'qwen3-8b' }],
} } } }
`
