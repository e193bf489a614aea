/** One server-sent event as it came. */
export interface StreamEvent {
  readonly id: string | null
  /** `null`: it tells only how far the stream has come. */
  readonly data: string | null
}

/** Where the key of this tab is kept: it goes with it, and never into an address. */
const KEY_NAME = 'leasehold.key'

/** The gateway wants a key, or another one. */
export class LockedError extends Error {}

export function setKey(key: string): void {
  sessionStorage.setItem(KEY_NAME, key)
}

/** Asks the gateway, with this tab's key when it has one. */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const key = sessionStorage.getItem(KEY_NAME)
  const headers = { ...init.headers, ...(key === null ? {} : { authorization: `Bearer ${key}` }) }
  const response = await fetch(path, { ...init, headers, cache: 'no-store' })
  if (response.status === 401 || (response.status === 403 && key !== null)) throw new LockedError(path)
  if (!response.ok) throw new Error(await readError(response))
  return response
}

async function readError(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => null)
  const message = (body as { error?: { message?: unknown } } | null)?.error?.message
  return typeof message === 'string' ? message : `The gateway answered with ${response.status}.`
}

/** Reads an answer part by part, each ending in `end`; settles when the answer ends. */
async function readParts(response: Response, end: string, each: (part: string) => void): Promise<void> {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
    if (done) return
    text += decoder.decode(value, { stream: true })
    const parts = text.split(end)
    text = parts.pop() ?? ''
    for (const part of parts) each(part)
  }
}

/** Reads server-sent events, by fetch rather than EventSource: a key is a header, not part of an address. */
export function readEvents(response: Response, each: (event: StreamEvent) => void): Promise<void> {
  return readParts(response, '\n\n', (part) => {
    const lines = part.split('\n')
    const data = lines.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6))
    const id = lines.find((line) => line.startsWith('id: '))?.slice(4) ?? null
    if (data.length > 0) each({ id, data: data.join('\n') })
    else if (id !== null) each({ id, data: null })
  })
}

export function readLines(response: Response, each: (line: string) => void): Promise<void> {
  return readParts(response, '\n', (line) => {
    if (line !== '') each(line)
  })
}
