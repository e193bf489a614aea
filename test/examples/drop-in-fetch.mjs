// Any OpenAI client becomes on-demand: the first request starts the server, and an idle one stops.
// node drop-in-fetch.mjs leasehold.json5
import { createSupervisor, loadConfig } from 'leasehold'
import OpenAI from 'openai'

const supervisor = createSupervisor({ config: await loadConfig(process.argv[2] ?? 'leasehold.json5') })
const openai = new OpenAI({ baseURL: 'http://leasehold/v1', apiKey: 'unused', fetch: supervisor.fetch })

const stream = await openai.chat.completions.create({
  model: 'demo/demo',
  messages: [{ role: 'user', content: 'count to 9' }],
  stream: true,
})
for await (const { choices } of stream) process.stdout.write(choices[0]?.delta.content ?? '')
process.stdout.write('\n')

await supervisor.close()
