import type { SupervisorEvent } from '../events/events.ts'
import type { RecordingHeader } from '../observe/recorder.ts'

/** A recording as it was written. */
export interface Recording {
  readonly header: RecordingHeader
  readonly events: readonly SupervisorEvent[]
  /** Whether it goes on to the supervisor's end. */
  readonly isWhole: boolean
}

/**
 * Reads a recording. A last line that was cut off, by a supervisor that was killed, is left out.
 * @throws {@link Error} with the number of the line for anything else that is none
 */
export function parseRecording(text: string): Recording {
  const lines = text.split('\n')
  const cut = lines.pop() ?? ''
  const [header, ...events] = lines.map((line, index) => parseLine(line, index + 1))
  if (header === undefined || header.type !== 'recording.begun' || Reflect.get(header, 'recording') !== 1)
    throw new Error('line 1: expected the header of a recording of format 1')
  const told = events.filter(({ type }) => type !== 'recording.ended') as SupervisorEvent[]
  told.forEach(({ seq }, index) => {
    const before = told[index - 1]?.seq
    if (typeof seq !== 'number' || (before !== undefined && seq !== before + 1))
      throw new Error(`line ${index + 2}: expected event ${(before ?? 0) + 1}, found ${seq}`)
  })
  return {
    header: header as unknown as RecordingHeader,
    events: told,
    isWhole: cut === '' && told.at(-1)?.type === 'supervisor.closed',
  }
}

function parseLine(line: string, number: number): { readonly type: unknown } {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw new Error(`line ${number}: not JSON`, { cause })
  }
  if (typeof value !== 'object' || value === null || !('type' in value))
    throw new Error(`line ${number}: not an event`)
  return value
}
