/** The views, in the order of the rail and of the keys 1 to 6. */
export const views = ['overview', 'requests', 'timeline', 'try', 'machines', 'host'] as const

export type ViewName = (typeof views)[number] | 'service'

/** What the address names: a view, and what is selected in it. */
export interface Route {
  readonly view: ViewName
  readonly id: string | null
}

/** Reads `#/service/qwen3-8b`. An address that names no view is the overview. */
export function parseRoute(hash: string): Route {
  const [, view = '', ...rest] = hash.split('/')
  const id = rest.length === 0 || rest[0] === '' ? null : decode(rest.join('/'))
  const known = [...views, 'service' as const].find((name) => name === view)
  return { view: known === 'service' && id === null ? 'overview' : (known ?? 'overview'), id }
}

export function formatRoute(view: ViewName, id?: string | null): string {
  const base = view === 'overview' ? '#/' : `#/${view}`
  return id === undefined || id === null ? base : `${base}/${encodeURIComponent(id)}`
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
