import { createWriteStream, fchmodSync, openSync } from 'node:fs'
import type { SupervisorEvent } from '../events/events.ts'
import type { Supervisor } from '../supervisor/interface.ts'

/** The first line of a recording. Every further one is an event, as `GET /api/events` gives it. */
export interface RecordingHeader {
  readonly type: 'recording.begun'
  /** The format. A reader refuses one that it does not know. */
  readonly recording: 1
  /** The version of leasehold that wrote it. */
  readonly version: string
  readonly instance: string
  /** The name of this member, where the supervisor is one of a cluster. */
  readonly member?: string
  readonly time: string
  /** The services there were, with the state they were in. Their policies stand in their `service.added`. */
  readonly services: readonly { readonly service: string; readonly key: string; readonly state: string }[]
}

/** The last line of a recording that was ended before the supervisor was: what follows is not in it. */
export interface RecordingEnd {
  readonly type: 'recording.ended'
  readonly because: 'size' | 'slow-disk'
}

export interface RecorderOptions {
  /** Made for its owner alone (0600). One that exists is replaced. */
  readonly file: string
  /** Largest file, in bytes; what happens after it is full is not recorded. @default 256 MiB */
  readonly maxBytes?: number | undefined
  /** What the header says. @default '0.0.0' */
  readonly version?: string | undefined
  /** Told once when the recording ends early: it is full, or the file cannot be written. @default nothing */
  readonly onEnd?: ((why: Error) => void) | undefined
}

/** A recording under way. */
export interface Recorder {
  /** Settles when it is over, with its supervisor or before, and the file is written. */
  readonly written: Promise<void>
  /** Ends it; settles when the file is written. Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const MAX_BYTES = 256 * 1024 * 1024
/** Limit of bytes that wait for a slow disk. */
const MAX_BEHIND_BYTES = 16 * 1024 * 1024

/**
 * Writes every event of a supervisor to a file, from the first that is still kept: a recorder made together with its
 * supervisor has them all. Requests appear with their ids, times and outcomes, never with what was asked or answered.
 * @throws the system's error when the file cannot be made
 */
export function createRecorder(supervisor: Supervisor, options: RecorderOptions): Recorder {
  const { file, maxBytes = MAX_BYTES, version = '0.0.0', onEnd = () => {} } = options
  const fd = openSync(file, 'w', 0o600)
  // An existing file keeps its mode, which may let others read it.
  fchmodSync(fd, 0o600)
  const stream = createWriteStream(file, { fd })
  let bytes = 0
  let isOver = false
  const written = new Promise<void>((resolve) => stream.once('close', resolve))

  const finish = () => {
    if (isOver) return
    isOver = true
    watch?.unsubscribe()
    stream.end()
  }
  const giveUp = (because: RecordingEnd['because'], why: string) => {
    const last: RecordingEnd = { type: 'recording.ended', because }
    stream.write(`${JSON.stringify(last)}\n`)
    finish()
    onEnd(new Error(`The recording ${file} ends here: ${why}.`))
  }
  const write = (line: RecordingHeader | SupervisorEvent) => {
    if (isOver) return
    const text = `${JSON.stringify(line)}\n`
    const size = Buffer.byteLength(text)
    if (bytes + size > maxBytes) return giveUp('size', `it has reached its limit of ${maxBytes} bytes`)
    if (stream.writableLength > MAX_BEHIND_BYTES) return giveUp('slow-disk', 'its disk is too slow')
    bytes += size
    stream.write(text)
  }
  stream.on('error', (cause) => {
    finish()
    onEnd(new Error(`The recording ${file} cannot be written.`, { cause }))
  })

  const { instance, services } = supervisor.snapshot()
  const member = supervisor.config.leasehold.cluster?.member
  write({
    type: 'recording.begun',
    recording: 1,
    version,
    instance,
    ...(member === undefined ? {} : { member }),
    time: new Date().toISOString(),
    services: services.map(({ service, key, state }) => ({ service, key, state })),
  })
  for (const event of supervisor.pastEvents()) write(event)
  const watch = isOver ? undefined : supervisor.events$.subscribe({ next: write, complete: finish })

  const close = () => {
    finish()
    return written
  }
  return { written, close, [Symbol.asyncDispose]: close }
}
