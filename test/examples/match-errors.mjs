// Errors are matched by their code. Each says what ran, how it ended, and what it printed last.
// node match-errors.mjs leasehold.json5
import { createSupervisor, loadConfig, ServiceError } from 'leasehold'

const supervisor = createSupervisor({ config: await loadConfig(process.argv[2] ?? 'leasehold.json5') })
try {
  const lease = await supervisor.acquire('demo/demo')
  lease.release()
  console.log('it starts')
} catch (error) {
  if (!(error instanceof ServiceError)) throw error
  const { code, failure, retryAfterMs } = error
  if (code === 'LEASEHOLD_EXITED_BEFORE_READY') console.log(`exit code ${failure.exitCode}, last words:`)
  for (const line of failure.tail ?? []) console.log(`  ${line}`)
  if (retryAfterMs !== undefined) console.log(`try again in ${retryAfterMs} ms`)
}
await supervisor.close()
