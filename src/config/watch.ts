import { type BigIntStats, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { exhaustMap, filter, map, type Observable, scan, timer } from 'rxjs'
import { type Clock, toScheduler } from '../clock.ts'

/** Time between two looks at a file, in milliseconds. A change counts when the next look finds no other. */
const LOOK_EVERY_MS = 250

/**
 * Says when a file has changed and has then been left alone for one look, so that twenty saves in a second are one
 * change and a file is hardly read half-written. Looks are taken with `stat`, which sees what notifications of the
 * system do not tell alike everywhere: editors that write beside and rename, links that point somewhere else now,
 * folders of another host. A file that is gone has changed, too. What counts is what is different from the moment of
 * the call: call it before the file is read, so that no edit in between is missed.
 */
export function watchFile$(file: string, clock: Clock): Observable<void> {
  const first = lookNow(file)
  return timer(LOOK_EVERY_MS, LOOK_EVERY_MS, toScheduler(clock)).pipe(
    exhaustMap(() => look(file)),
    scan(follow, { seen: first, told: first, isNews: false }),
    filter(({ isNews }) => isNews),
    map(() => undefined),
  )
}

interface Watch {
  /** What was there at the last look, and when news were last told. */
  readonly seen: string
  readonly told: string
  readonly isNews: boolean
}

function follow({ seen, told }: Watch, now: string): Watch {
  const isNews = now === seen && now !== told
  return { seen: now, told: isNews ? now : told, isNews }
}

function look(file: string): Promise<string> {
  return stat(file, { bigint: true }).then(toSignature, toFault)
}

function lookNow(file: string): string {
  try {
    return toSignature(statSync(file, { bigint: true }))
  } catch (error) {
    return toFault(error)
  }
}

/** Everything about a file that an edit changes, as one word. */
function toSignature({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
}

/** Why a file cannot be seen: being gone is a state of it like any other. */
function toFault(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
