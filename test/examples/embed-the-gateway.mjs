// An OpenAI-compatible endpoint inside your own program, with the models of your configuration.
// node embed-the-gateway.mjs leasehold.json5
import { createSupervisor, loadConfig } from 'leasehold'
import { createGateway } from 'leasehold/gateway'

const supervisor = createSupervisor({ config: await loadConfig(process.argv[2] ?? 'leasehold.json5') })
const gateway = createGateway({ supervisor, port: 0 })
const { url } = await gateway.listen()
console.log(`listening on ${url}`)

process.once('SIGTERM', async () => {
  await gateway.close()
  await supervisor.close()
  console.log('everything is stopped')
})
