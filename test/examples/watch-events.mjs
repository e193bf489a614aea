// Everything that happens is an event, numbered and timed: logs, metrics and pages are made of these.
// node watch-events.mjs leasehold.json5
import { createSupervisor, loadConfig } from 'leasehold'

const supervisor = createSupervisor({ config: await loadConfig(process.argv[2] ?? 'leasehold.json5') })

supervisor.events$.subscribe((event) => {
  if (event.type === 'service.state') console.log(`${event.service}: ${event.from} -> ${event.to}`)
  else if (event.type === 'process.settled')
    console.log(`${event.service}: ${event.receipt.survivors.length} survivors`)
  else if (event.type === 'supervisor.closed') console.log('closed')
})

const { service, pid } = await supervisor.start('demo')
console.log(`${service} runs as process ${pid}`)
await supervisor.stop('demo')
await supervisor.close()
