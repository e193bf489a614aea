import type { Failure } from '../../machines/messages.ts'
import { causeAdvice } from '../text/cause-advice.ts'
import type { Situation } from './situation.ts'

/** `cut`: stop it without waiting for its requests. `logs`: show its output. */
export type AdvisedVerb = 'start' | 'stop' | 'cut' | 'logs'

/** An action for the user: as a sentence, and as a command where there is one. */
export interface Advice {
  readonly text: string
  readonly command: { readonly verb: AdvisedVerb; readonly service: string } | null
  /** A line to copy: a setting for the configuration file, or a command for a shell. */
  readonly copy?: string
}

/** A setting with twice its value, as a line of the configuration; nothing where its value is unknown or `0`. */
export function suggest(setting: string, value: number | undefined): Pick<Advice, 'copy'> {
  return value === undefined || value <= 0 ? {} : { copy: `${setting}: ${value * 2}` }
}

/** The usual remedy for a failure. */
const cures: Partial<Record<Failure['code'], string>> = {
  LEASEHOLD_SPAWN_FAILED:
    'Check that command is an absolute path to a program that may be run, and that cwd exists.',
  LEASEHOLD_EXITED_BEFORE_READY:
    'Its last output says why. Run its command by hand to see all of it: a missing model file, a wrong flag or too little memory are the usual causes.',
  LEASEHOLD_READY_TIMEOUT:
    'If it was still loading, raise readyTimeoutMs. If it was ready, correct healthUrl.',
  LEASEHOLD_BACKEND_FAILED: 'The server reported that it cannot become ready: its output has the cause.',
  LEASEHOLD_HEALTH_MISMATCH:
    'The server runs, but its configuration asks for something else than it answers: change what is named here.',
  LEASEHOLD_FOREIGN_SERVER:
    'Another program listens on its port. Stop that program, or give this service another port in args, baseUrl and healthUrl. If it is the server that command started, have command run it in the foreground.',
  LEASEHOLD_PORT_TAKEN:
    'Another program takes its port each time. Stop that program, or give this service another port in args, baseUrl and healthUrl.',
  LEASEHOLD_NOT_REACHABLE:
    'leasehold does not start this server: start it on its host, or configure a localService.',
  LEASEHOLD_SERVICE_EXITED:
    'It was ready and then ended: look at its last output. Ended by SIGKILL usually means that memory ran out.',
  LEASEHOLD_UNHEALTHY: 'It stopped answering its health checks and is started again for the next request.',
  LEASEHOLD_STOP_TIMEOUT: 'Some of its processes are still alive: end the processes named here.',
  LEASEHOLD_STATE_UNUSABLE:
    'Its message says what to do: mend the state directory, or set LEASEHOLD_STATE_DIR to one of your own.',
}

/** Failures that the output of a process explains. */
const PRINTED: ReadonlySet<Failure['code']> = new Set<Failure['code']>([
  'LEASEHOLD_EXITED_BEFORE_READY',
  'LEASEHOLD_READY_TIMEOUT',
  'LEASEHOLD_BACKEND_FAILED',
  'LEASEHOLD_HEALTH_MISMATCH',
  'LEASEHOLD_SERVICE_EXITED',
])

export function isPrinted({ code }: Failure): boolean {
  return PRINTED.has(code)
}

/** Remedies for a failure of a service; empty if none is known. */
export function listCures({
  service,
  failure,
  policy,
}: Pick<Situation, 'service' | 'failure' | 'policy'>): Advice[] {
  const cause = failure?.telling?.cause
  const known = cause === undefined ? undefined : causeAdvice[cause]
  const text = known ?? (failure === null ? undefined : cures[failure.code])
  if (failure === null || text === undefined) return []
  return [
    {
      text,
      command: isPrinted(failure) ? { verb: 'logs', service } : null,
      ...(failure.code === 'LEASEHOLD_READY_TIMEOUT'
        ? suggest('readyTimeoutMs', policy?.readyTimeoutMs)
        : {}),
    },
  ]
}
