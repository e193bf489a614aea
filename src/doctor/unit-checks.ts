import { basename } from 'node:path'
import type { Clock } from '../clock.ts'
import { runCommand } from '../process/command.ts'
import { buildChildEnvironment } from '../process/environment.ts'
import type { Service } from '../service/services.ts'
import type { DoctorFinding } from './doctor-report.ts'

/** How long systemd may take to tell a property, in milliseconds. */
const SHOW_TIMEOUT_MS = 3_000

/** Units that systemd starts again by itself: it would act beside leasehold after a crash and after a failed stop. */
export async function checkUnits(
  services: readonly Service[],
  { env, clock }: { readonly env: Readonly<Record<string, string | undefined>>; readonly clock: Clock },
): Promise<readonly DoctorFinding[]> {
  const found = await Promise.all(
    services.map(async ({ name, localService }): Promise<readonly DoctorFinding[]> => {
      const unit = findUnit(localService?.stopCommand)
      if (localService === undefined || unit === undefined) return []
      const { output, exitCode } = await runCommand(
        [unit.program, ...unit.scope, 'show', '--property=Restart', '--value', unit.name],
        {
          env: buildChildEnvironment({
            host: env,
            env: localService.env,
            inheritEnv: localService.inheritEnv,
            markers: {},
          }),
          clock,
          timeoutMs: SHOW_TIMEOUT_MS,
        },
      )
      if (exitCode !== 0 || output === '' || output === 'no') return []
      const text = `the unit ${unit.name} has Restart=${output}: systemd starts it again beside leasehold, so set Restart=no (systemctl ${[...unit.scope, 'edit', unit.name].join(' ')})`
      return [{ level: 'warning', code: 'unit-restarts', about: name, text }]
    }),
  )
  return found.flat()
}

/** The unit that a stop command stops: `systemctl [--user] stop NAME`. */
function findUnit(stopCommand: readonly (readonly string[])[] = []) {
  for (const [program = '', ...args] of stopCommand) {
    const scope = args.filter((arg) => arg === '--user')
    const [verb, name] = args.filter((arg) => !arg.startsWith('-'))
    if (basename(program) === 'systemctl' && verb === 'stop' && name !== undefined)
      return { program, scope, name }
  }
  return undefined
}
