// Hold the lease yourself and talk to the server directly; it stays up until the lease is given back.
// node hold-a-lease.mjs leasehold.json5
import { createSupervisor, loadConfig } from 'leasehold'

const supervisor = createSupervisor({ config: await loadConfig(process.argv[2] ?? 'leasehold.json5') })
const lease = await supervisor.acquire('demo/demo', { signal: AbortSignal.timeout(60_000) })
try {
  const response = await fetch(`${lease.baseUrl}/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...lease.headers },
    body: JSON.stringify({ model: lease.model, input: ['a cat', 'a dog'] }),
    // Aborted, with the cause, when the server ends under the lease.
    signal: lease.signal,
  })
  const { data } = await response.json()
  console.log(
    `${data.length} embeddings from ${lease.owned ? 'a server of ours' : 'a server that was there'}`,
  )
} finally {
  lease.release()
}
await supervisor.close()
