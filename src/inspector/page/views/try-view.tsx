import { useEffect, useRef, useState } from 'preact/hooks'
import { hasTag } from '../../../../machines/provider/tags.ts'
import { toDurationText } from '../../../text/duration.ts'
import type { App } from '../app.ts'
import { formatSpan } from '../display-text.ts'
import { Screen, type Told, type ViewProps } from '../frame/view-frame.tsx'
import { lookWords } from '../look.ts'
import { formatRoute } from '../route.ts'
import { Glyph, Icon } from '../shapes.tsx'
import { type Language, languages, type Task, writeSnippet } from './snippets.ts'
import { compareVectors, phases, startTrial, type Trial } from './trial.ts'

interface Choice extends Told {
  readonly id: string
  readonly name: string
}

interface Turn {
  readonly role: 'user' | 'assistant'
  readonly content: string
}

interface Settings {
  readonly system: string
  readonly temperature: string
  readonly maxTokens: string
}

const tasks: readonly (readonly [Task, string])[] = [
  ['chat', 'Chat'],
  ['embeddings', 'Embeddings'],
  ['rerank', 'Rerank'],
]

/** A place to try a model: it asks through the gateway as any client does, and keeps nothing. */
export function TryIt(view: ViewProps & { readonly told: readonly Told[] }) {
  const { app, told, isStill } = view
  const { id } = app.state.route
  const choices = told.flatMap(listChoices)
  const chosen =
    choices.find((one) => one.id === id || one.service.name === id) ??
    choices.find(({ name }) => guessTask(name) === 'chat') ??
    choices[0]
  const [picked, pick] = useState<Task | null>(null)
  const [turns, say] = useState<readonly Turn[]>([])
  const [trial, tell] = useState<Trial | null>(null)
  const [settings, set] = useState<Settings>({ system: '', temperature: '', maxTokens: '' })
  const [documents, rank] = useState<readonly string[]>([])
  const stop = useRef<() => void>(() => {})
  useEffect(() => () => stop.current(), [])
  const task = picked ?? (chosen === undefined ? 'chat' : guessTask(chosen.name))
  const reset = () => {
    stop.current()
    say([])
    tell(null)
  }
  const send = (prompt: string, more: string) => {
    if (chosen === undefined || isStill) return
    const lines = (task === 'rerank' ? more : prompt).split('\n').filter((line) => line.trim() !== '')
    const answered =
      trial?.isOver && trial.text !== '' ? [{ role: 'assistant', content: trial.text } as const] : []
    const next: readonly Turn[] = [...turns, ...answered, { role: 'user', content: prompt }]
    if (task === 'chat') say(next)
    rank(lines)
    stop.current()
    stop.current = startTrial({
      app,
      task,
      service: chosen.service.key,
      body: buildBody({ task, model: chosen.id, turns: next, lines, prompt, settings }),
      onChange: tell,
    })
  }
  return (
    <Screen view={view} title="Try it">
      {chosen === undefined ? (
        <div class="hero">
          <h2>There is no model to try</h2>
          <p class="soft">Its service is configured under models.providers, with its models.</p>
        </div>
      ) : (
        <div class="try">
          <Picker choices={choices} chosen={chosen} onPick={reset} />
          <div class="stack">
            <section class="card" aria-label="Ask">
              <header>
                <span class="seg" role="group" aria-label="What to ask for">
                  {tasks.map(([value, word]) => (
                    <button
                      key={value}
                      type="button"
                      aria-pressed={task === value}
                      onClick={() => {
                        pick(value)
                        reset()
                      }}
                    >
                      {word}
                    </button>
                  ))}
                </span>
                <span class="tools">
                  {turns.length > 0 && (
                    <button type="button" class="btn bare" onClick={reset}>
                      New
                    </button>
                  )}
                </span>
              </header>
              {task === 'chat' && turns.length > 1 && <Turns turns={turns.slice(0, -1)} />}
              {task === 'chat' && turns.length > 0 && trial !== null && (
                <p class="asked">{turns.at(-1)?.content}</p>
              )}
              {trial !== null && <Answer trial={trial} task={task} documents={documents} />}
              <Form
                task={task}
                name={chosen.name}
                isStill={isStill}
                isRunning={trial !== null && !trial.isOver}
                settings={settings}
                onSettings={set}
                onSend={send}
                onStop={() => stop.current()}
              />
            </section>
            <Snippet app={app} model={chosen.id} task={task} />
          </div>
        </div>
      )}
    </Screen>
  )
}

function listChoices(one: Told): readonly Choice[] {
  return one.service.models.map(({ id, aliases }) => ({
    ...one,
    id: aliases[0] ?? id,
    name: aliases[0] ?? id,
  }))
}

/** What a model is for, told from its name; the person may choose otherwise. */
function guessTask(name: string): Task {
  if (/rerank/i.test(name)) return 'rerank'
  return /embed|bge|(^|[/-])(e5|gte)\b|minilm/i.test(name) ? 'embeddings' : 'chat'
}

interface BodyFacts {
  readonly task: Task
  readonly model: string
  readonly turns: readonly Turn[]
  readonly lines: readonly string[]
  readonly prompt: string
  readonly settings: Settings
}

function buildBody({ task, model, turns, lines, prompt, settings }: BodyFacts): object {
  if (task === 'embeddings') return { model, input: lines }
  if (task === 'rerank') return { model, query: prompt, documents: lines }
  const { system, temperature, maxTokens } = settings
  const number = (text: string) =>
    text.trim() === '' || Number.isNaN(Number(text)) ? undefined : Number(text)
  return {
    model,
    stream: true,
    stream_options: { include_usage: true },
    messages: [...(system.trim() === '' ? [] : [{ role: 'system', content: system }]), ...turns],
    temperature: number(temperature),
    max_tokens: number(maxTokens),
  }
}

interface PickerProps {
  readonly choices: readonly Choice[]
  readonly chosen: Choice
  onPick(): void
}

function Picker({ choices, chosen, onPick }: PickerProps) {
  return (
    <section class="card" aria-label="Model">
      <header>
        <h2>Model</h2>
      </header>
      <div class="pick" role="radiogroup" aria-label="Model">
        {choices.map((one) => (
          <label key={one.id}>
            <Glyph look={one.look} />
            <input
              type="radio"
              name="model"
              value={one.id}
              checked={one.id === chosen.id}
              onChange={() => {
                onPick()
                location.replace(formatRoute('try', one.id))
              }}
            />
            <b class="cut">{one.name}</b>
            <small class="cut">{describeExpected(one)}</small>
          </label>
        ))}
      </div>
    </section>
  )
}

/** What asking it now would mean. */
function describeExpected({ service, look }: Choice): string {
  const { state, startTimes } = service
  if (hasTag(state, 'up')) return `${lookWords[look].toLowerCase()}: answers at once`
  if (hasTag(state, 'tripped')) return 'keeps failing: is refused'
  const usual = startTimes === null ? '' : `, usually ready in ${toDurationText(startTimes.medianMs)}`
  return `${lookWords[look].toLowerCase()}${usual}`
}

function Turns({ turns }: { readonly turns: readonly Turn[] }) {
  return (
    <ol class="turns">
      {turns.map(({ role, content }, index) => (
        <li key={index} class={role}>
          {content}
        </li>
      ))}
    </ol>
  )
}

interface FormProps {
  readonly task: Task
  readonly name: string
  readonly isStill: boolean
  readonly isRunning: boolean
  readonly settings: Settings
  onSettings(settings: Settings): void
  onSend(prompt: string, more: string): void
  onStop(): void
}

const labels: Readonly<Record<Task, string>> = {
  chat: 'Prompt',
  embeddings: 'Texts, one on each line',
  rerank: 'Query',
}

function Form({ task, name, isStill, isRunning, settings, onSettings, onSend, onStop }: FormProps) {
  const [prompt, type] = useState('')
  const [more, list] = useState('')
  const submit = () => {
    if (prompt.trim() === '' || isRunning) return
    onSend(prompt, more)
    if (task === 'chat') type('')
  }
  const sendByKey = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
    event.preventDefault()
    submit()
  }
  const set = (name: keyof Settings) => (event: Event) =>
    onSettings({ ...settings, [name]: (event.currentTarget as HTMLInputElement).value })
  return (
    <form
      class="ask"
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
    >
      <label>
        <span class={task === 'chat' ? 'vh' : ''}>{labels[task]}</span>
        <textarea
          id="prompt"
          rows={3}
          placeholder={`Ask ${name} something`}
          value={prompt}
          onInput={({ currentTarget }) => type(currentTarget.value)}
          onKeyDown={sendByKey}
        />
      </label>
      {task === 'rerank' && (
        <label>
          <span>Documents, one on each line</span>
          <textarea
            rows={4}
            value={more}
            onInput={({ currentTarget }) => list(currentTarget.value)}
            onKeyDown={sendByKey}
          />
        </label>
      )}
      {task === 'chat' && (
        <details>
          <summary>Settings</summary>
          <div class="settings">
            <label>
              <span>System prompt</span>
              <input class="field" value={settings.system} onInput={set('system')} />
            </label>
            <label>
              <span>Temperature</span>
              <input
                class="field"
                inputMode="decimal"
                value={settings.temperature}
                onInput={set('temperature')}
              />
            </label>
            <label>
              <span>At most tokens</span>
              <input
                class="field"
                inputMode="numeric"
                value={settings.maxTokens}
                onInput={set('maxTokens')}
              />
            </label>
          </div>
        </details>
      )}
      <div class="row">
        <small class="grow">Goes through the gateway as any client’s request does. Nothing is kept.</small>
        <small class="hide-s">
          <kbd>Ctrl</kbd> <kbd>↵</kbd>
        </small>
        {isRunning ? (
          <button key="stop" type="button" class="btn" onClick={onStop}>
            Stop
          </button>
        ) : (
          <button key="send" type="submit" class="btn main" disabled={isStill || prompt.trim() === ''}>
            Send
          </button>
        )}
      </div>
    </form>
  )
}

interface AnswerProps {
  readonly trial: Trial
  readonly task: Task
  readonly documents: readonly string[]
}

const waits: Readonly<Record<Trial['phase'], string>> = {
  wait: 'Waiting for its turn…',
  load: 'The model is loading…',
  first: 'Sent, waiting for the first byte…',
  stream: '',
}

function Answer({ trial, task, documents }: AnswerProps) {
  const { text, thought, phase, problem, isOver, vectors, ranks } = trial
  const isEmpty = text === '' && thought === '' && vectors.length === 0 && ranks.length === 0
  return (
    <div class={`answer ${phase === 'stream' && !isOver ? 'streams' : ''}`} role="group" aria-label="Answer">
      {thought !== '' && (
        <details>
          <summary>Thinking</summary>
          <p class="thought">{thought}</p>
        </details>
      )}
      <div class="text" aria-live={isOver ? 'polite' : 'off'}>
        {isEmpty && problem === null ? (
          <span class="soft">{isOver ? 'An empty answer.' : waits[phase]}</span>
        ) : (
          text
        )}
        {task === 'embeddings' && <Vectors vectors={vectors} texts={documents} />}
        {task === 'rerank' && <Ranks ranks={ranks} texts={documents} />}
      </div>
      {problem !== null && <p class="problem">{problem}</p>}
      <Meters trial={trial} task={task} />
    </div>
  )
}

function Meters({ trial: { spentMs, tokens }, task }: Pick<AnswerProps, 'trial' | 'task'>) {
  const whole = phases.reduce((sum, [phase]) => sum + spentMs[phase], 0)
  const rate = spentMs.stream > 0 && tokens > 1 ? (tokens / spentMs.stream) * 1_000 : null
  return (
    <>
      <div class="phases" aria-hidden="true">
        {phases.map(
          ([phase]) =>
            spentMs[phase] > 0 && (
              <i
                key={phase}
                class={phase}
                style={{ width: `${((spentMs[phase] / Math.max(1, whole)) * 100).toFixed(2)}%` }}
              />
            ),
        )}
      </div>
      <dl class="meters">
        {phases.map(([phase, word]) => (
          <div key={phase}>
            <dt>
              <i class={`swatch ${phase}`} />
              {word}
            </dt>
            <dd>{spentMs[phase] >= 1 ? formatSpan(spentMs[phase]) : '–'}</dd>
          </div>
        ))}
        {task === 'chat' && (
          <div>
            <dt>Pace</dt>
            <dd>
              {rate === null ? '–' : rate.toFixed(rate < 10 ? 1 : 0)} <small>tok/s</small>
            </dd>
          </div>
        )}
        {task === 'chat' && (
          <div>
            <dt>Tokens</dt>
            <dd>{tokens}</dd>
          </div>
        )}
      </dl>
    </>
  )
}

interface VectorsProps {
  readonly vectors: Trial['vectors']
  readonly texts: readonly string[]
}

function Vectors({ vectors, texts }: VectorsProps) {
  const [first] = vectors
  if (first === undefined) return null
  return (
    <table class="results">
      <thead>
        <tr>
          <th>Text</th>
          <th class="num">Like the first</th>
          <th>{`${first.length} dimensions`}</th>
        </tr>
      </thead>
      <tbody>
        {vectors.map((vector, index) => (
          <tr key={index}>
            <td class="cut">{texts[index]}</td>
            <td class="num">{compareVectors(first, vector).toFixed(3)}</td>
            <td class="mono cut">
              {vector
                .slice(0, 6)
                .map((value) => value.toFixed(3))
                .join(' ')}{' '}
              …
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Ranks({ ranks, texts }: { readonly ranks: Trial['ranks']; readonly texts: readonly string[] }) {
  if (ranks.length === 0) return null
  return (
    <table class="results">
      <thead>
        <tr>
          <th class="num">Score</th>
          <th>Document, the best first</th>
        </tr>
      </thead>
      <tbody>
        {ranks.map(({ index, score }) => (
          <tr key={index}>
            <td class="num">{score.toFixed(3)}</td>
            <td>{texts[index]}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Snippet({ app, model, task }: { readonly app: App; readonly model: string; readonly task: Task }) {
  const [language, speak] = useState<Language>('curl')
  const needsKey = sessionStorage.getItem('leasehold.key') !== null
  const code = writeSnippet(language, { origin: location.origin, model, task, needsKey })
  return (
    <section class="card" aria-label="The same from a program">
      <header>
        <span class="seg" role="group" aria-label="Language">
          {languages.map((one) => (
            <button key={one} type="button" aria-pressed={language === one} onClick={() => speak(one)}>
              {one}
            </button>
          ))}
        </span>
        <span class="tools">
          <button type="button" class="btn bare" onClick={() => app.copy(code, 'The code')}>
            <Icon name="copy" size={14} /> Copy
          </button>
        </span>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre class="code" tabIndex={0}>
        {code}
      </pre>
    </section>
  )
}
