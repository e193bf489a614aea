import type { Verdict } from '../../machines/messages.ts'
import { findSign } from '../json/sign.ts'
import type { GetAnswer } from '../transport/get.ts'

/** What tells from an answer that the server sleeps: the value of a field, or the status. */
export interface SleepSign {
  readonly field?: string | undefined
  readonly equals: unknown
  readonly status?: number | undefined
}

/** Whether a server sleeps, by an answer of its own; a verdict where that cannot be told. */
export type SleepLook = { readonly isAsleep: boolean } | { readonly verdict: Verdict }

/** The sign in an answer. A server that cannot tell, because its answer is another one, is not known to sleep. */
export function judgeSleep({ status, body }: GetAnswer, sign: SleepSign): SleepLook {
  const isGood = status >= 200 && status < 300
  const toUnknown = (detail: string): SleepLook => ({
    verdict: { kind: 'loading', status, detail: `${status}: ${detail}` },
  })
  if (sign.status !== undefined) {
    if (status === sign.status) return { isAsleep: true }
    return isGood ? { isAsleep: false } : toUnknown('its answer does not say whether it sleeps')
  }
  const isAsleep = isGood ? findSign(body, sign.field ?? '', sign.equals) : undefined
  return isAsleep === undefined
    ? toUnknown(`its answer does not have the field ${sign.field}, which says whether it sleeps`)
    : { isAsleep }
}
