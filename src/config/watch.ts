import { type BigIntStats, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { exhaustMap, filter, from, map, type Observable, timer } from 'rxjs'
import { type Clock, toScheduler } from '../clock.ts'

/** Time between two looks at a file, in milliseconds. A change counts when the next look finds no other. */
const LOOK_EVERY_MS = 250

/** Files that are watched together: a configuration and the files that it is made of. */
export interface FileWatch {
  /**
   * Emits when a file has changed and no file has changed since one more look: twenty saves in a second, or saves of
   * several files, are one change, and a file is rarely read half-written.
   */
  readonly changes$: Observable<void>
  /**
   * Watches one more file, which need not exist. What counts is what is different from the moment of this call: call
   * it before the file is read, so that no edit in between is missed.
   */
  add(file: string): void
  /** Forgets every other file. */
  keepOnly(files: ReadonlySet<string>): void
}

/**
 * Watches files. Looks are taken with `stat`, which sees what notifications of the system do not tell alike everywhere:
 * editors that write beside and rename, links that point somewhere else now, folders of another host. A file that is
 * gone has changed, too.
 */
export function createFileWatch(file: string, clock: Clock): FileWatch {
  const watched = new Map<string, Watched>()
  const add = (one: string) => {
    if (watched.has(one)) return
    const first = lookNow(one)
    watched.set(one, { seen: first, told: first })
  }
  add(file)
  const lookAtAll = () =>
    Promise.all([...watched].map(async ([one, before]) => ({ one, before, now: await look(one) })))
  return {
    changes$: timer(LOOK_EVERY_MS, LOOK_EVERY_MS, toScheduler(clock)).pipe(
      exhaustMap(() => from(lookAtAll())),
      map((looks) => {
        const isQuiet = looks.every(({ before, now }) => now === before.seen)
        const isNews = isQuiet && looks.some(({ before, now }) => now !== before.told)
        // One that was added or dropped during the look keeps what was noted of it then.
        for (const { one, before, now } of looks)
          if (watched.get(one) === before) watched.set(one, { seen: now, told: isQuiet ? now : before.told })
        return isNews
      }),
      filter((isNews) => isNews),
      map(() => undefined),
    ),
    add,
    keepOnly: (files) => {
      for (const one of watched.keys()) if (!files.has(one)) watched.delete(one)
    },
  }
}

interface Watched {
  /** What was there at the last look, and when news were last told. */
  readonly seen: string
  readonly told: string
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

/** The properties of a file that an edit changes, as one string. */
function toSignature({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
}

/** Why a file cannot be read: a missing file is a state like any other. */
function toFault(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
