import { byteOf, skipSpace } from '../json/bytes.ts'
import { checkJson } from '../json/check.ts'
import {
  getMember,
  getText,
  isArray,
  isEmptyText,
  isObject,
  itemsOf,
  joinTexts,
  membersOf,
  setMember,
  textOf,
  toNode,
  toValue,
} from '../json/edit.ts'
import { type JsonNode, type JsonSpan, readJson } from '../json/node.ts'
import { writeWholePieces } from '../json/pieces.ts'
import { type AdviceRow, type Asked, adviceRows } from './advice-rows.ts'
import { toErrorApi } from './error-shapes.ts'

/** A recognised backend error and its remedy. */
export interface Advice {
  /** Stable name: `requires-string-content`. */
  readonly id: string
  /** What to do, as one sentence. */
  readonly text: string
  /** JSON5 to paste into the model's entry, or into its provider's for arguments. Absent if no setting helps. */
  readonly block?: string
}

/** An error body with the backend's message, followed by the advice. */
export interface Advised {
  readonly advice: Advice
  /** JSON in OpenAI's shape, also if the backend's shape differs: see {@link advise}. */
  readonly body: Buffer
}

/**
 * Recognises known error texts of local backends. `status`: the answer's, because a text can mean something else
 * under another status; `asked`: the model and the route.
 *
 * In the new body `error.message` begins with the backend's message, and `error.leasehold` holds the advice's name and
 * block. Where the backend has an `error.message`, every other byte stays; an `error` that is a text, FastAPI's
 * `detail` and plain text become the message of an error object beside the members that were there.
 * @returns `undefined` for an unknown text, whose bytes should be passed on unchanged.
 */
export function advise(status: number, body: Buffer, asked: Asked): Advised | undefined {
  const root = readObject(body)
  const error = getMember(root, 'error')
  const words = findWords(root) ?? toNode(body.toString('utf8'))
  const complaint = [textOf(words) ?? '', ...listLines(error), ...listLines(root)].join('\n')
  for (const row of adviceRows) {
    const found = row.statuses.includes(status) ? row.pattern.exec(complaint) : null
    if (found === null) continue
    const advice = buildAdvice(row, found, asked)
    return { advice, body: explain(root, words, advice, status, asked) }
  }
  return undefined
}

/** The body as an object; `undefined` when it is anything else, JSON or not. */
function readObject(body: Buffer): JsonSpan | undefined {
  try {
    checkJson(body)
  } catch {
    return undefined
  }
  const start = skipSpace(body, 0)
  return body[start] === byteOf.openBrace ? readJson(body, start, 2) : undefined
}

/** The backend's human-readable message; `undefined` if no known field holds one. */
function findWords(root: JsonSpan | undefined): JsonNode | undefined {
  const error = getMember(root, 'error')
  const detail = getMember(root, 'detail')
  const texts = [getMember(error, 'message'), error, getMember(root, 'message'), detail]
  const words = texts.find((node) => textOf(node) !== undefined)
  if (words !== undefined || !isArray(detail)) return words
  return toNode(
    itemsOf(detail)
      .map(({ value }) => formatFault(value))
      .join('\n'),
  )
}

/**
 * `body.messages.0.content: Field required`: one of FastAPI's validation errors, without the client's input that it
 * repeats.
 */
function formatFault(fault: JsonNode): string {
  const place = itemsOf(getMember(fault, 'loc')).map(({ value }) => toValue(value))
  return `${place.join('.')}: ${getText(fault, 'msg') ?? ''}`
}

/** Members beyond this number are ignored: a real error has a handful. */
const MAX_MEMBERS = 20

/** The plain members of an error besides its message, as `key: value`. */
function listLines(object: JsonNode | undefined): string[] {
  return membersOf(object)
    .slice(0, MAX_MEMBERS)
    .filter(({ key, value }) => !wordKeys.has(key) && !isObject(value) && !isArray(value))
    .map(({ key, value }) => `${key}: ${toValue(value)}`)
}

const wordKeys = new Set(['error', 'message', 'detail'])

type Groups = Readonly<Record<string, string>>

function buildAdvice(row: AdviceRow, found: RegExpExecArray, asked: Asked): Advice {
  const { groups = {} } = found
  if (typeof row.text !== 'string') return { id: row.id, text: row.text(asked) }
  const text = row.text.replace(/\$<(\w+)>/g, (_, name: string) => groups[name] ?? '')
  const block = buildBlock(row, groups, asked.ref)
  return { id: row.id, text, ...(block === undefined ? {} : { block }) }
}

function buildBlock({ compat, args }: AdviceRow, groups: Groups, ref: string): string | undefined {
  if (compat !== undefined)
    return formatModelBlock(ref, typeof compat === 'function' ? compat(groups) : compat)
  if (args === undefined) return undefined
  return `localService: { args: [/* yours, then */ ${args.map((arg) => JSON.stringify(arg)).join(', ')}] }`
}

/** A provider's id has no slash, so that the rest is the model's id. */
export function formatModelBlock(ref: string, compat: object): string {
  return `{ id: ${JSON.stringify(ref.slice(ref.indexOf('/') + 1))}, compat: ${formatJson5(compat)} }`
}

/** One line of JSON5 in the usual hand-written style. */
function formatJson5(object: object): string {
  const members = Object.entries(object).map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
  return `{ ${members.join(', ')} }`
}

function explain(
  root: JsonSpan | undefined,
  words: JsonNode,
  { id, text, block }: Advice,
  status: number,
  { path = '' }: Asked,
): Buffer {
  const document = root ?? readJson(Buffer.from('{}'), 0, 0)
  const present = getMember(document, 'error')
  const error = isObject(present)
    ? present
    : toNode({ message: '', type: findErrorType(status), param: null, code: null })
  const ours = block === undefined ? text : `${text}\n${block}`
  const separator = isEmptyText(words) ? '' : '\n\n'
  setMember(error, 'message', joinTexts([words, `${separator}leasehold: ${ours}`]))
  setMember(error, 'leasehold', toNode({ advice: id, block }))
  setMember(document, 'error', error)
  if (root === undefined && toErrorApi(path) === 'messages') setMember(document, 'type', toNode('error'))
  return Buffer.concat(writeWholePieces(document).pieces)
}

/** The error type for a server that sends none. */
function findErrorType(status: number): string {
  if (status === 429) return 'rate_limit_error'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}
