import { useEffect, useRef, useState } from 'preact/hooks'
import { hasTag } from '../../../../machines/provider/tags.ts'
import { toDurationText } from '../../../text/duration.ts'
import type { App, AppState } from '../app.ts'
import { formatSpan } from '../display-text.ts'
import { Screen, type Told, type ViewProps } from '../frame/view-frame.tsx'
import { lookWords } from '../look.ts'
import { formatRoute } from '../route.ts'
import { Glyph, Icon } from '../shapes.tsx'
import { MarkdownText } from './markdown-text.tsx'
import { type Language, languages, type Task, writeSnippet } from './snippets.ts'
import { compareVectors, phases, startTrial, type Trial, toDataUrl } from './trial.ts'

interface Choice extends Told {
  readonly id: string
  readonly name: string
  readonly task: Task
}

interface Turn {
  readonly role: 'user' | 'assistant'
  readonly content: string
  /** What is shown to the model with it, as a data URL. */
  readonly image?: string | null
}

interface Settings {
  readonly system: string
  readonly temperature: string
  readonly maxTokens: string
  readonly size: string
  readonly voice: string
}

const tasks: readonly (readonly [Task, string])[] = [
  ['chat', 'Chat'],
  ['embeddings', 'Embeddings'],
  ['rerank', 'Rerank'],
  ['images', 'Image'],
  ['speech', 'Speech'],
  ['transcription', 'Transcribe'],
]

/** A place to try a model: it asks through the gateway as any client does, and keeps nothing. */
export function TryIt(view: ViewProps & { readonly told: readonly Told[] }) {
  const { app, told, isStill } = view
  const { id } = app.state.route
  const { abilities } = app.state
  const choices = told.flatMap((one) => listChoices(one, abilities))
  const chosen =
    choices.find((one) => one.id === id || one.service.name === id) ??
    choices.find((one) => one.task === 'chat') ??
    choices[0]
  const [picked, pick] = useState<Task | null>(null)
  const [turns, say] = useState<readonly Turn[]>([])
  const [trial, tell] = useState<Trial | null>(null)
  const [settings, set] = useState<Settings>({
    system: '',
    temperature: '',
    maxTokens: '',
    size: '',
    voice: '',
  })
  const [documents, rank] = useState<readonly string[]>([])
  const [prompt, type] = useState('')
  const [image, attach] = useState<string | null>(null)
  const [sound, record] = useState<File | null>(null)
  const [others, compare] = useState<readonly string[]>([])
  const [beside, hear] = useState<Readonly<Record<string, Trial>>>({})
  const stop = useRef<() => void>(() => {})
  useEffect(() => () => stop.current(), [])
  const task = picked ?? chosen?.task ?? 'chat'
  /** Ends the request under way, if any, and forgets its answer: what it tells from now on is not shown. */
  const drop = () => {
    stop.current()
    stop.current = () => {}
    tell(null)
    hear({})
  }
  const reset = () => {
    drop()
    say([])
  }
  /** Takes a message back, with what came after it. */
  const edit = (index: number) => {
    drop()
    type(turns[index]?.content ?? '')
    attach(turns[index]?.image ?? null)
    say(turns.slice(0, index))
    document.getElementById('prompt')?.focus()
  }
  const send = (more: string) => {
    if (chosen === undefined || isStill) return
    const lines = (task === 'rerank' ? more : prompt).split('\n').filter((line) => line.trim() !== '')
    const answered =
      trial?.isOver && trial.text !== '' ? [{ role: 'assistant', content: trial.text } as const] : []
    const next: readonly Turn[] = [...turns, ...answered, { role: 'user', content: prompt, image }]
    if (task === 'chat') {
      say(next)
      type('')
      attach(null)
    }
    rank(lines)
    drop()
    const start = ({ id: model, service }: Choice, onTrial: (trial: Trial) => void) =>
      startTrial({
        app,
        task,
        service: service.key,
        body: buildBody({ task, model, turns: next, lines, prompt, settings, sound }),
        onChange: (one) => {
          if (stop.current === stopAll) onTrial(one)
        },
      })
    const stops = [
      start(chosen, tell),
      ...listBeside(task, choices, chosen, others).map((one) =>
        start(one, (trial) => hear((before) => ({ ...before, [one.id]: trial }))),
      ),
    ]
    const stopAll = () => {
      for (const stopOne of stops) stopOne()
    }
    stop.current = stopAll
  }
  const isRunning = [trial, ...Object.values(beside)].some((one) => one?.isOver === false)
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
              {turns.length > 0 && <Turns turns={turns} onEdit={edit} />}
              {trial !== null && <Answer trial={trial} task={task} documents={documents} name="Answer" />}
              {Object.entries(beside).map(([model, one]) => (
                <Answer
                  key={model}
                  trial={one}
                  task={task}
                  documents={documents}
                  name={`Answer of ${model}`}
                />
              ))}
              <Form
                task={task}
                name={chosen.name}
                isStill={isStill}
                isRunning={isRunning}
                beside={task === 'chat' ? choices.filter((one) => one !== chosen && one.task === 'chat') : []}
                others={others}
                onCompare={compare}
                prompt={prompt}
                onType={type}
                image={image}
                onAttach={attach}
                sound={sound}
                onSound={record}
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

/** The models that are asked the same at once. */
function listBeside(
  task: Task,
  choices: readonly Choice[],
  chosen: Choice,
  others: readonly string[],
): readonly Choice[] {
  return task === 'chat' ? choices.filter((one) => one !== chosen && others.includes(one.id)) : []
}

function listChoices(one: Told, abilities: AppState['abilities']): readonly Choice[] {
  return one.service.models.map(({ id, aliases }) => ({
    ...one,
    id: aliases[0] ?? id,
    name: aliases[0] ?? id,
    task: findTask(aliases[0] ?? id, abilities[id] ?? []),
  }))
}

/** What a model is for, as it says, else told from its name; the person may choose otherwise. */
function findTask(name: string, abilities: readonly string[]): Task {
  if (abilities.includes('completion')) return 'chat'
  if (abilities.includes('rerank') || /rerank/i.test(name)) return 'rerank'
  if (abilities.includes('embedding')) return 'embeddings'
  if (/whisper|parakeet|transcri/i.test(name)) return 'transcription'
  if (/kokoro|(^|[^a-z])(tts|piper|orpheus)([^a-z]|$)/i.test(name)) return 'speech'
  if (/flux|diffusion|(^|[^a-z])(sdxl|sd[1-3]|[a-z]+-image)([^a-z]|$)/i.test(name)) return 'images'
  return /embed|bge|(^|[/-])(e5|gte)\b|minilm/i.test(name) ? 'embeddings' : 'chat'
}

interface BodyFacts {
  readonly task: Task
  readonly model: string
  readonly turns: readonly Turn[]
  readonly lines: readonly string[]
  readonly prompt: string
  readonly settings: Settings
  readonly sound: File | null
}

function buildBody({ task, model, turns, lines, prompt, settings, sound }: BodyFacts): object {
  const { system, temperature, maxTokens, size, voice } = settings
  if (task === 'embeddings') return { model, input: lines }
  if (task === 'rerank') return { model, query: prompt, documents: lines }
  if (task === 'images') return { model, prompt, size: size || undefined, response_format: 'b64_json' }
  if (task === 'speech') return { model, input: prompt, voice: voice || undefined }
  if (task === 'transcription') {
    const form = new FormData()
    form.append('model', model)
    if (sound !== null) form.append('file', sound)
    return form
  }
  const number = (text: string) =>
    text.trim() === '' || Number.isNaN(Number(text)) ? undefined : Number(text)
  return {
    model,
    stream: true,
    stream_options: { include_usage: true },
    messages: [
      ...(system.trim() === '' ? [] : [{ role: 'system', content: system }]),
      ...turns.map(buildMessage),
    ],
    temperature: number(temperature),
    max_tokens: number(maxTokens),
  }
}

function buildMessage({ role, content, image }: Turn): object {
  if (image == null) return { role, content }
  return {
    role,
    content: [
      { type: 'text', text: content },
      { type: 'image_url', image_url: { url: image } },
    ],
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

interface TurnsProps {
  readonly turns: readonly Turn[]
  onEdit(index: number): void
}

function Turns({ turns, onEdit }: TurnsProps) {
  return (
    <ol class="turns">
      {turns.map(({ role, content, image }, index) => (
        <li key={index} class={role}>
          {image != null && <img class="thumb" src={image} alt="Attached" />}
          {role === 'user' ? content : <MarkdownText text={content} />}
          {role === 'user' && (
            <button type="button" class="btn bare" onClick={() => onEdit(index)}>
              Edit
            </button>
          )}
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
  /** The models that may be asked the same at once. `others`: the ids of the chosen ones. */
  readonly beside: readonly Choice[]
  readonly others: readonly string[]
  onCompare(others: readonly string[]): void
  readonly prompt: string
  onType(prompt: string): void
  readonly image: string | null
  onAttach(image: string | null): void
  readonly sound: File | null
  onSound(sound: File | null): void
  readonly settings: Settings
  onSettings(settings: Settings): void
  onSend(more: string): void
  onStop(): void
}

const labels: Readonly<Record<Task, string>> = {
  chat: 'Prompt',
  embeddings: 'Texts, one on each line',
  rerank: 'Query',
  images: 'What it shows',
  speech: 'What it says',
  transcription: '',
}

type Field = readonly [keyof Settings, string, 'text' | 'decimal' | 'numeric']

const fields: Readonly<Partial<Record<Task, readonly Field[]>>> = {
  chat: [
    ['system', 'System prompt', 'text'],
    ['temperature', 'Temperature', 'decimal'],
    ['maxTokens', 'At most tokens', 'numeric'],
  ],
  images: [['size', 'Size, such as 512x512', 'text']],
  speech: [['voice', 'Voice', 'text']],
}

function Form(props: FormProps) {
  const { task, name, isStill, isRunning, prompt, onType, settings, onSettings, onSend, onStop } = props
  const [more, list] = useState('')
  const isEmpty = task === 'transcription' ? props.sound === null : prompt.trim() === ''
  const submit = () => {
    if (isEmpty || isRunning) return
    onSend(more)
  }
  const sendByKey = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
    event.preventDefault()
    submit()
  }
  return (
    <form
      class="ask"
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
    >
      {task === 'transcription' ? (
        <label>
          <span>Sound</span>
          <input
            type="file"
            accept="audio/*,video/*"
            onChange={({ currentTarget }) => props.onSound(currentTarget.files?.[0] ?? null)}
          />
        </label>
      ) : (
        <label>
          <span class={task === 'chat' ? 'vh' : ''}>{labels[task]}</span>
          <textarea
            id="prompt"
            rows={3}
            placeholder={`Ask ${name} something`}
            value={prompt}
            onInput={({ currentTarget }) => onType(currentTarget.value)}
            onKeyDown={sendByKey}
          />
        </label>
      )}
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
      {task === 'chat' && <Attachment {...props} />}
      {fields[task] !== undefined && (
        <details>
          <summary>Settings</summary>
          <div class="settings">
            {fields[task].map(([name, word, inputMode]) => (
              <label key={name}>
                <span>{word}</span>
                <input
                  class="field"
                  inputMode={inputMode}
                  value={settings[name]}
                  onInput={({ currentTarget }) => onSettings({ ...settings, [name]: currentTarget.value })}
                />
              </label>
            ))}
          </div>
        </details>
      )}
      {props.beside.length > 0 && <Others {...props} />}
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
          <button key="send" type="submit" class="btn main" disabled={isStill || isEmpty}>
            Send
          </button>
        )}
      </div>
    </form>
  )
}

/** The same prompt for several models at once shows how they share the machine. */
function Others({ beside, others, onCompare }: Pick<FormProps, 'beside' | 'others' | 'onCompare'>) {
  return (
    <details>
      <summary>Ask others at once</summary>
      <div class="others">
        {beside.map(({ id, name }) => (
          <label key={id}>
            <input
              type="checkbox"
              checked={others.includes(id)}
              onChange={({ currentTarget }) =>
                onCompare(currentTarget.checked ? [...others, id] : others.filter((one) => one !== id))
              }
            />
            <span class="cut">{name}</span>
          </label>
        ))}
      </div>
    </details>
  )
}

function Attachment({ image, onAttach }: Pick<FormProps, 'image' | 'onAttach'>) {
  if (image !== null)
    return (
      <div class="row">
        <img class="thumb" src={image} alt="Attached" />
        <button type="button" class="btn" onClick={() => onAttach(null)}>
          Remove image
        </button>
      </div>
    )
  const read = (file: File | undefined) => {
    if (file !== undefined) void toDataUrl(file).then(onAttach)
  }
  return (
    <label>
      <span>Image</span>
      <input type="file" accept="image/*" onChange={({ currentTarget }) => read(currentTarget.files?.[0])} />
    </label>
  )
}

interface AnswerProps {
  readonly trial: Trial
  readonly task: Task
  readonly documents: readonly string[]
  readonly name: string
}

const waits: Readonly<Record<Trial['phase'], string>> = {
  wait: 'Waiting for its turn…',
  load: 'The model is loading…',
  first: 'Sent, waiting for the first byte…',
  stream: '',
}

function Answer({ trial, task, documents, name }: AnswerProps) {
  const { text, thought, phase, problem, isOver, vectors, ranks, media } = trial
  const isEmpty = text === '' && thought === '' && vectors.length + ranks.length + media.length === 0
  return (
    <div class={`answer ${phase === 'stream' && !isOver ? 'streams' : ''}`} role="group" aria-label={name}>
      {name !== 'Answer' && <h3>{name}</h3>}
      {thought !== '' && (
        <details>
          <summary>Thinking</summary>
          <p class="thought">{thought}</p>
        </details>
      )}
      <div class="text" aria-live={isOver ? 'polite' : 'off'}>
        {isEmpty && problem === null ? (
          <span class="soft">{isOver ? 'An empty answer.' : waits[phase]}</span>
        ) : task === 'chat' ? (
          <MarkdownText text={text} />
        ) : (
          text
        )}
        {task === 'embeddings' && <Vectors vectors={vectors} texts={documents} />}
        {task === 'rerank' && <Ranks ranks={ranks} texts={documents} />}
        {task === 'images' && media.map((url) => <img key={url} class="made" src={url} alt="The answer" />)}
        {task === 'speech' && media.map((url) => <Speech key={url} url={url} />)}
      </div>
      {problem !== null && <p class="problem">{problem}</p>}
      <Meters trial={trial} task={task} />
    </div>
  )
}

function Speech({ url }: { readonly url: string }) {
  // biome-ignore lint/a11y/useMediaCaption: what it says is the text that was sent, which stands beside it
  return <audio controls src={url} aria-label="The answer" />
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
