import { readFile } from 'node:fs/promises'
import { runScript, type Story, type StoryFact, type StoryStep } from '../testing/run-script.ts'
import { buildScriptSchema, parseScript, type Script } from '../testing/script.ts'
import { exitCodes, UsageError } from './exit-codes.ts'
import { escapeText, type Terminal } from './terminal.ts'

export interface ScriptOptions {
  /** Against a real process and real sockets instead of the virtual clock. */
  readonly real?: boolean
  readonly json?: boolean
}

/** `leasehold script run`: plays event scripts and prints each as a story. Fails if an expectation fails. */
export async function runScripts(
  files: readonly string[],
  { real = false, json = false }: ScriptOptions,
  terminal: Terminal,
): Promise<number> {
  const scripts = await Promise.all(files.map(async (file) => ({ file, script: await readScript(file) })))
  const play = real ? (await import('../testing/real-script.ts')).runRealScript : runScript
  const stories: (Story & { readonly file: string })[] = []
  for (const { file, script } of scripts) {
    const story = { file, ...(await play(script)) }
    stories.push(story)
    if (!json) for (const line of tellStory(story, terminal)) terminal.line(line)
  }
  const ok = stories.every((story) => story.ok)
  if (json) terminal.json({ ok, stories })
  return ok ? exitCodes.ok : exitCodes.failed
}

/** `leasehold script schema`: the JSON Schema of an event script. */
export function printScriptSchema({ json }: ScriptOptions, terminal: Terminal): number {
  terminal.line(JSON.stringify(buildScriptSchema(), null, json ? undefined : 2))
  return exitCodes.ok
}

async function readScript(file: string): Promise<Script> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw new UsageError(`The script ${file} cannot be read.`, { cause })
  }
  try {
    return parseScript(text)
  } catch (cause) {
    throw new UsageError(`${file}: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

/** A readable story: per step the input, the observed facts with their times, and the failed expectations. */
function tellStory({ script, steps, ok }: Story, terminal: Terminal): string[] {
  const end = ok
    ? terminal.paint('green', `✓ ${steps.length} steps, every expectation met`)
    : terminal.paint('red', `✗ it ends at step ${steps.length} of ${script.steps.length}`)
  return [
    terminal.paint('bold', escapeText(script.title)),
    ...steps.flatMap((step) => tellStep(step, terminal)),
    end,
    '',
  ].map((line) => line.trimEnd())
}

function tellStep({ step, state, facts, failures }: StoryStep, terminal: Terminal): string[] {
  const asked = [
    step.say,
    step.world && `the outside changes: ${formatFacts(step.world)}`,
    step.crash && `the process ends: ${formatFacts(step.crash)}`,
    ...[step.send ?? []].flat().map(({ type, ...rest }) => `→ ${type} ${formatFacts(rest)}`),
  ].filter((text) => text !== undefined)
  const hasExpectation = Object.keys(step).some(
    (key) => !['at', 'say', 'world', 'crash', 'send'].includes(key),
  )
  const verdict =
    failures.length > 0 ? terminal.paint('red', '✗') : hasExpectation ? terminal.paint('green', '✓') : ' '
  return [
    ...asked.map((text) => `${formatTime(step.at)}  ${escapeText(text)}`),
    ...facts.map((fact) =>
      terminal.paint('dim', `${formatTime(fact.atMs)}    ${escapeText(formatFact(fact))}`),
    ),
    `${formatTime(step.at)}  ${verdict} ${state}`,
    ...failures.map((failure) => terminal.paint('red', `${' '.repeat(12)}${escapeText(failure)}`)),
  ]
}

function formatFact({ type, atMs, ...rest }: StoryFact): string {
  return `${type} ${formatFacts(rest)}`
}

/** `id=a, priority=1`; nested values are written as JSON. */
function formatFacts(facts: object): string {
  return Object.entries(facts)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ')
}

function formatTime(ms: number): string {
  return `${String(Math.round(ms)).padStart(8)} ms`
}
