import { BadRequestError } from '../errors.ts'
import { byteOf, skipSpace } from '../json/bytes.ts'
import { checkJson } from '../json/check.ts'
import { isNothing, textOf, toValue } from '../json/edit.ts'
import { childrenOf, findMembers, readJson } from '../json/node.ts'
import { writeWholePieces } from '../json/pieces.ts'
import { listDropped } from './dropped.ts'
import { KEEP_ALIVE, toKeepAliveMs } from './keep-alive.ts'
import { rules } from './order.ts'
import type { RewriteOptions } from './rule.ts'

export type { RewriteOptions, Route } from './rule.ts'

/** The facts of a body that the gateway needs before it starts a service. */
export interface BodyPeek {
  /** Absent when the body names no model: OpenAI's Python client sends `null` for `None`. Of duplicates the last. */
  readonly model: string | undefined
  /** Whether `stream` is `true`. */
  readonly stream: boolean
  /** The idle time that `keep_alive` asks for, in milliseconds. */
  readonly keepAliveMs?: number | undefined
}

/** A rewritten body, ready to be sent: its bytes, their number, and the names of the rules that changed something. */
export interface RewrittenBody {
  readonly pieces: readonly Buffer[]
  readonly byteLength: number
  readonly applied: readonly string[]
  /** Members of the client's that are not sent in any form: see {@link listDropped}. */
  readonly dropped: readonly string[]
}

/**
 * Checks a whole JSON body and reads its model, so that a broken one is refused before a model server is started.
 * @throws {@link BadRequestError} 400 when the body is not valid UTF-8 or JSON (with the offset), nests deeper than
 * 200 levels, is not an object, has a `model` that is neither a string nor `null`, or a `keep_alive` that is no duration.
 */
export function peekBody(body: Buffer): BodyPeek {
  checkJson(body)
  const [model, stream, keepAlive] = findMembers(body, findRoot(body), PEEKED)
  const modelText = textOf(model)
  if (modelText === undefined && !isNothing(model)) {
    throw new BadRequestError('"model" must be a string.', { param: 'model' })
  }
  return {
    model: modelText,
    stream: toValue(stream) === true,
    keepAliveMs: toKeepAliveMs(toValue(keepAlive)),
  }
}

const PEEKED = ['model', 'stream', KEEP_ALIVE]

/**
 * Applies every rule that the options ask for to a body that {@link peekBody} has accepted. The pieces share memory
 * with the body wherever it was not changed; the body must not be changed while they are in use. Rules of the order
 * file that are not for every route apply to `chat` only; those with `isForEveryRoute` apply to all.
 * @throws {@link BadRequestError} when the body is not a JSON object after all, or holds half a million values.
 */
export function rewriteBody(body: Buffer, options: RewriteOptions): RewrittenBody {
  const isChat = options.route === 'chat'
  const root = readJson(body, findRoot(body), isChat ? countLevels(options) : 1)
  // A rule that removes members gives the body a new list of them.
  const before = childrenOf(root)
  const applied: string[] = []
  for (const rule of isChat ? rules : rulesForEveryRoute)
    if (rule.apply(root, options)) applied.push(rule.name)
  const after = childrenOf(root)
  const dropped = before === after ? NOTHING : listDropped(before, after, options.compat)
  return { ...writeWholePieces(root), applied, dropped }
}

const NOTHING: readonly string[] = []

const rulesForEveryRoute = rules.filter(({ isForEveryRoute }) => isForEveryRoute === true)

/**
 * Body, messages, message, content, part: opening what a rule reads while it is first read saves walking the text
 * again. Most bodies need no change below their own members.
 */
function countLevels({ compat: { requiresStringContent } }: RewriteOptions): number {
  return requiresStringContent === true ? 5 : 1
}

function findRoot(body: Buffer): number {
  const start = skipSpace(body, 0)
  if (body[start] !== byteOf.openBrace) throw new BadRequestError('The request body must be a JSON object.')
  return start
}
