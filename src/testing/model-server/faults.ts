import type { Call } from './call.ts'
import type { JsonObject } from './json.ts'
import { listObjects } from './json.ts'
import type { ModelServerSettings } from './options.ts'
import type { Reply } from './reply.ts'
import { buildBytesReply, buildErrorReply, buildJsonReply } from './reply.ts'

/** What becomes of a request before its route is asked: an answer, silence for ever, or a crash. */
export type Obstacle = Reply | 'hang' | 'crash'

/** The obstacle that the settings put before a request. Absent: the route answers. */
export function findObstacle(call: Call, isLoaded: boolean): Obstacle | undefined {
  const { settings, path, method } = call
  if (settings.wrongServer)
    return buildBytesReply('<!doctype html><title>Some other server</title>', 'text/html')
  if (isHealthPath(path, settings)) return findHealth(settings, isLoaded)
  if (!isLoaded && !(path === '/v1/models' && settings.modelsWhileLoading === '200'))
    return buildLoadingReply()
  if (settings.failLoad === 'health500') return buildFailedReply()
  if (!hasKey(call)) return buildErrorReply(401, 'Invalid API Key', 'authentication_error')
  if (settings.hang) return 'hang'
  return method === 'POST' && settings.crashBeforeResponse ? 'crash' : undefined
}

/** The answer that a chat body gets from a backend as strict as the settings say. Absent: it is accepted. */
export function findChatRefusal(body: JsonObject, settings: ModelServerSettings): Reply | undefined {
  const messages = listObjects(body.messages)
  if (settings.rejectTools && body.tools !== undefined)
    return buildErrorReply(400, 'tools param requires --jinja flag')
  for (const [index, message] of messages.entries()) {
    const fault = findMessageFault(message, settings)
    if (fault !== undefined) return buildErrorReply(422, `messages[${index}]${fault}`)
  }
  return undefined
}

/** The answer to a body with a field that `rejectFields` names. */
export function findFieldRefusal(body: JsonObject, { rejectFields }: ModelServerSettings): Reply | undefined {
  const refused = Object.entries(rejectFields).find(
    ([name, { accepts = [] }]) => Object.hasOwn(body, name) && !accepts.some((text) => text === body[name]),
  )
  return refused === undefined ? undefined : buildErrorReply(refused[1].status, refused[1].message)
}

function isHealthPath(path: string, { healthPath }: ModelServerSettings): boolean {
  return healthPath === null ? path === '/health' || path === '/v1/health' : path === healthPath
}

function findHealth(settings: ModelServerSettings, isLoaded: boolean): Obstacle {
  if (settings.hangHealth) return 'hang'
  if (settings.redirectHealth !== null) {
    return { kind: 'whole', status: 302, headers: { location: settings.redirectHealth }, body: '', tokens: 0 }
  }
  if (isLoaded)
    return settings.failLoad === 'health500' ? buildFailedReply() : buildJsonReply({ status: 'ok' })
  if (settings.healthWhileLoading === 'hang') return 'hang'
  return settings.healthWhileLoading === '200' ? buildJsonReply({ status: 'ok' }) : buildLoadingReply()
}

function buildLoadingReply(): Reply {
  return buildErrorReply(503, 'Loading model', 'unavailable_error')
}

function buildFailedReply(): Reply {
  return buildJsonReply({ status: 'error' }, { status: 500 })
}

function hasKey({ settings: { apiKey }, headers }: Call): boolean {
  const accepted = [headers.authorization?.replace(/^Bearer /, ''), headers['x-api-key']]
  return apiKey === null || accepted.includes(apiKey)
}

/** The rest of the sentence that begins with the message's place. */
function findMessageFault(message: JsonObject, settings: ModelServerSettings): string | undefined {
  if (settings.rejectDeveloper && message.role === 'developer') {
    return '.role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`'
  }
  if (settings.strictContent && Array.isArray(message.content)) {
    return '.content: invalid type: sequence, expected a string'
  }
  const extra = Object.keys(message).find((key) => key !== 'role' && key !== 'content')
  return settings.strictMessageKeys && extra !== undefined
    ? `: unknown field \`${extra}\`, expected \`role\` or \`content\``
    : undefined
}
