import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { filter, firstValueFrom, map, ReplaySubject } from 'rxjs'
import type { ProcessEvent } from '../../machines/messages.ts'
import type { OutputLine } from '../../src/process/output.ts'
import type { RunHandle, RunOptions } from '../../src/process/run.ts'
import { createProcessTable, type ProcessTable, type ProcessTableOptions } from '../../src/process/table.ts'

type EventOf<Type extends ProcessEvent['type']> = Extract<ProcessEvent, { type: Type }>

/** One run of a fixture, with everything it reported and printed. */
export interface Watched extends RunHandle {
  readonly events: readonly ProcessEvent[]
  /** The first event of a type, past or to come. */
  until<Type extends ProcessEvent['type']>(type: Type): Promise<EventOf<Type>>
  /** The first line that fits, past or to come. */
  untilLine(pattern: RegExp): Promise<string>
  /** The pid the fixture `forks` announces for its grandchild. */
  grandchild(): Promise<number>
}

/** A process table of its own, and a look at the host that does not use the code under test. */
export interface World extends AsyncDisposable {
  readonly table: ProcessTable
  run(fixture: string, args?: readonly string[], options?: Partial<RunOptions>): Watched
  /** Living processes whose environment carries the table's id. */
  strays(): readonly number[]
}

/** The path of a fixture program. */
export function toFixturePath(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}.mjs`, import.meta.url))
}

let generations = 0

export function createWorld(options: Partial<ProcessTableOptions> = {}): World {
  const table = createProcessTable({ environment: process.env, ...options })
  return {
    table,
    run(fixture, args = [], overrides = {}) {
      const events: ProcessEvent[] = []
      const told = new ReplaySubject<ProcessEvent>()
      const printed = new ReplaySubject<OutputLine>()
      generations += 1
      const key = overrides.key ?? 'service'
      const handle = table.run(
        {
          key,
          generation: `generation-${generations}`,
          command: process.execPath,
          args: [toFixturePath(fixture), ...args],
          ...overrides,
        },
        (event) => {
          if (event.type === 'process.spawned') table.outputOf(key)?.lines$.subscribe(printed)
          events.push(event)
          told.next(event)
        },
      )
      const until = <Type extends ProcessEvent['type']>(type: Type) =>
        firstValueFrom(told.pipe(filter((event): event is EventOf<Type> => event.type === type)))
      const untilLine = (pattern: RegExp) =>
        firstValueFrom(
          printed.pipe(
            map(({ text }) => text),
            filter((text) => pattern.test(text)),
          ),
        )
      const grandchild = async () => Number(/\d+/.exec(await untilLine(/"grandchild"/))?.[0])
      return { ...handle, events, until, untilLine, grandchild }
    },
    strays: () => listCarriers(`LEASEHOLD_OWNER=${table.owner}`),
    [Symbol.asyncDispose]: () => table.close(),
  }
}

/** Whether a process runs, told without the code under test. Zombies do not. */
export function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

function listCarriers(marker: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/environ`, 'latin1').includes(marker)
      } catch {
        return false
      }
    })
    .map(Number)
    .filter(isRunning)
}

/** Living processes in whose command line or environment a text stands. */
export function listOf(file: 'cmdline' | 'environ', text: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return Number.isInteger(pid) && readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(text)
      } catch {
        return false
      }
    })
    .filter(isRunning)
}
