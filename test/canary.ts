import { randomBytes } from 'node:crypto'
import { appendFileSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import process from 'node:process'

/** Where hosts keep secrets; each holds the canary of the run. None of them is to reach a server or an output. */
const SECRET_NAMES = [
  'OPENAI_API_KEY',
  'ANTHROPIC_API_KEY',
  'HF_TOKEN',
  'AWS_SECRET_ACCESS_KEY',
  'GITHUB_TOKEN',
]
/** The key of the provider, for configurations that name it: `${LEASEHOLD_TEST_KEY}`. */
export const PROVIDER_KEY = 'LEASEHOLD_TEST_KEY'
const OUTPUTS = 'outputs'

/** Makes the canary of a run, and the folder for what its programs print. */
export function releaseCanary(directory: string): string {
  mkdirSync(join(directory, OUTPUTS))
  return `canary-${randomBytes(16).toString('hex')}`
}

/** Variables that hold the canary of this run. */
export function toCanaryEnvironment(canary = process.env[PROVIDER_KEY] ?? ''): Record<string, string> {
  return Object.fromEntries([...SECRET_NAMES, PROVIDER_KEY].map((name) => [name, canary]))
}

/** Keeps what a program printed or wrote, to be looked through when the run ends. */
export function keepOutput(name: string, text: string): void {
  const folder = join(tmpdir(), OUTPUTS)
  mkdirSync(folder, { recursive: true })
  appendFileSync(join(folder, `${name}.txt`), text)
}

/** Keeps every file below a folder that the test did not write. */
export function keepFiles(folder: string, written: ReadonlySet<string>): void {
  for (const file of listFiles(folder))
    if (!written.has(file))
      keepOutput('files', `${relative(folder, file)}\n${readFileSync(file, 'latin1')}\n`)
}

/** Files below a directory that hold the canary, as it is or in base64, hex or the spelling of a URL. */
export function findCanary(directory: string, canary: string): string[] {
  const bytes = Buffer.from(canary)
  const base64 = [0, 1, 2].map((offset) =>
    Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .slice(4, -4),
  )
  const spellings = [
    canary,
    bytes.toString('hex'),
    ...base64,
    ...base64.map((text) => text.replace(/\+/g, '-').replace(/\//g, '_')),
  ]
  return listFiles(directory).filter((file) => {
    const text = readFileSync(file, 'latin1')
    return spellings.some((spelling) => text.includes(spelling))
  })
}

function listFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true)
}
