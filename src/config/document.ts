import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import JSON5 from 'json5'
import { ConfigError } from '../errors.ts'
import { findOwnershipFault } from './ownership.ts'
import { type Entry, scanPositions } from './positions.ts'
import { isJsonObject, type JsonObject } from './sections.ts'

/** Largest configuration file, in bytes. JSON5 parses slowly; this much takes a fraction of a second. */
const MAX_CONFIG_BYTES = 1024 * 1024

/**
 * Reads the text of a configuration file.
 * @throws {@link ConfigError} when it is missing, unreadable, not a regular file, in the hands of another user, larger
 * than 1 MiB, or not UTF-8.
 */
export async function readDocument(file: string): Promise<string> {
  let bytes: Uint8Array
  try {
    const entry = await stat(file)
    // Opening a FIFO without a writer waits for ever, and a device has no end.
    if (!entry.isFile()) {
      const kind = entry.isDirectory() ? 'a directory' : 'a pipe or a device'
      throw toFailure(file, `this is ${kind}, not a file`)
    }
    const fault = await findOwnershipFault(file)
    if (fault !== undefined) throw toFailure(file, fault)
    bytes = await readLimited(file)
  } catch (error) {
    throw error instanceof ConfigError ? error : toFailure(file, toReason(error), error)
  }
  if (bytes.length > MAX_CONFIG_BYTES) {
    throw toFailure(file, `the file is larger than the limit of ${MAX_CONFIG_BYTES} bytes`)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw toFailure(file, 'the file is not UTF-8 text', error)
  }
}

/** A parsed file: what it holds, and where. */
export interface Document {
  readonly value: JsonObject
  readonly root: Entry
}

/**
 * Parses the text of a configuration file, and finds the place of every value. `file` is its name in messages.
 * @throws {@link ConfigError} with the place of the fault when it is not JSON5, and when it holds no object.
 */
export function openDocument(given: string, file: string): Document {
  const text = given.replace(/^\uFEFF/, '')
  const value = parse(text, file)
  if (!isJsonObject(value)) throw toFailure(file, 'the file must hold one object: { … }')
  return { value, root: scanPositions(text) }
}

/** Parses an included file, which may hold any value. Its places name it. */
export function openIncluded(given: string, file: string): { readonly value: unknown; readonly root: Entry } {
  const text = given.replace(/^\uFEFF/, '')
  return { value: parse(text, file), root: scanPositions(text, file) }
}

function parse(text: string, file: string): unknown {
  if (text.trim() === '') throw toFailure(file, 'the file is empty')
  try {
    return JSON5.parse(text)
  } catch (error) {
    throw toSyntaxFailure(file, text, error)
  }
}

/** One byte beyond the limit is enough to know that there is too much. */
async function readLimited(file: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of createReadStream(file, { end: MAX_CONFIG_BYTES })) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function toReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES' || code === 'EPERM') return 'the file may not be read'
  return `the file cannot be read${typeof code === 'string' ? ` (${code})` : ''}`
}

function toFailure(file: string, message: string, cause?: unknown): ConfigError {
  return new ConfigError(
    file,
    [{ severity: 'error', path: '', message }],
    cause === undefined ? undefined : { cause },
  )
}

/** json5 puts its place into the message and on the error: `JSON5: invalid end of input at 3:1`. */
function toSyntaxFailure(file: string, text: string, cause: unknown): ConfigError {
  if (/\.ya?ml$/i.test(file) || isYaml(text))
    return toFailure(
      file,
      'this is YAML, which is not read; a configuration is JSON5: { models: { … } }',
      cause,
    )
  const { message, lineNumber, columnNumber }: Record<string, unknown> = Object(cause)
  const reason = String(message)
    .replace(/^JSON5: /, '')
    .replace(/ at \d+:\d+$/, '')
  let line = Number(lineNumber)
  let column = Number(columnNumber)
  // A line break inside a string is counted as column 0 of the line after it.
  if (column === 0) {
    line -= 1
    column = (text.split('\n')[line - 1]?.length ?? 0) + 1
  }
  return new ConfigError(
    file,
    [{ severity: 'error', path: '', message: `not valid JSON5: ${reason}`, line, column }],
    { cause },
  )
}

/** Whether the first line that is no comment starts a mapping or a document of YAML. */
function isYaml(text: string): boolean {
  const line = text.split('\n').find((one) => !/^\s*(#.*)?$/.test(one)) ?? ''
  return /^(---|%YAML|[\w-]+:(\s|$)|- )/.test(line)
}
