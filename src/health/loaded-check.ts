import type { Verdict } from '../../machines/messages.ts'
import { findSign } from '../json/sign.ts'
import type { HealthAnswer } from './verdict.ts'

/** What tells from an answer of a daemon that a model of it is loaded. */
export interface LoadedSign {
  readonly path: string
  readonly field: string
  readonly equals: unknown
  /** The value of the field when the last load has failed. */
  readonly failed?: unknown
  /** Whether a load is answered when the model is loaded. */
  readonly atOnce?: boolean
}

/**
 * The verdict on a model by an answer of its daemon: `refused` where the model is not loaded, so that it can be. An answer
 * that does not tell is that of another program, or of a daemon that wants another key.
 */
export function judgeLoaded(
  { status, body }: HealthAnswer,
  { path, field, equals, failed, atOnce }: LoadedSign,
): Verdict {
  const toFault = (fault: string): Verdict => ({ kind: 'foreign', status, detail: fault, fault })
  if (status >= 500 || status === 408 || status === 425 || status === 429)
    return { kind: 'loading', status, detail: `its daemon answers ${status}` }
  if (status === 401 || status === 403)
    return toFault(`its daemon answers ${status} to ${path}: set the key that it expects as apiKey`)
  const isLoaded = status >= 200 && status < 300 ? findSign(body, field, equals) : undefined
  if (isLoaded === undefined)
    return toFault(
      `the answer ${status} to ${path} does not tell which models are loaded: at its baseUrl should be the daemon of the model`,
    )
  if (isLoaded) return { kind: 'ready', status, detail: 'the model is loaded' }
  if (failed !== undefined && findSign(body, field, failed))
    return { kind: 'refused', status, detail: 'its daemon says that its load has failed', isLoadFailed: true }
  const detail = `its daemon does not list ${JSON.stringify(equals)} as loaded`
  return { kind: 'refused', status, detail, ...(atOnce ? { isLoadFailed: true } : {}) }
}
