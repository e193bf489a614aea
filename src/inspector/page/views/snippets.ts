/** What is asked of a model. */
export type Task = 'chat' | 'embeddings' | 'rerank' | 'images' | 'speech' | 'transcription'

export const languages = ['curl', 'Python', 'TypeScript'] as const

export type Language = (typeof languages)[number]

interface SnippetFacts {
  /** Where the gateway listens: `http://127.0.0.1:4141`. */
  readonly origin: string
  readonly model: string
  readonly task: Task
  readonly needsKey: boolean
}

/** The same request from a program. The prompt of the page is not in it. */
export function writeSnippet(language: Language, facts: SnippetFacts): string {
  if (language === 'curl') return writeCurl(facts)
  return language === 'Python' ? writePython(facts) : writeTypeScript(facts)
}

const paths: Readonly<Record<Task, string>> = {
  chat: '/v1/chat/completions',
  embeddings: '/v1/embeddings',
  rerank: '/v1/rerank',
  images: '/v1/images/generations',
  speech: '/v1/audio/speech',
  transcription: '/v1/audio/transcriptions',
}

export function findPath(task: Task): string {
  return paths[task]
}

function buildExample(task: Task, model: string): object {
  if (task === 'embeddings') return { model, input: ['…'] }
  if (task === 'rerank') return { model, query: '…', documents: ['…', '…'] }
  if (task === 'images') return { model, prompt: '…', response_format: 'b64_json' }
  if (task === 'speech') return { model, input: '…', voice: '…' }
  return { model, stream: true, messages: [{ role: 'user', content: '…' }] }
}

function writeCurl({ origin, model, task, needsKey }: SnippetFacts): string {
  const key = needsKey ? `  -H "Authorization: Bearer $LEASEHOLD_KEY" \\\n` : ''
  const head = `curl ${origin}${paths[task]} \\\n${key}`
  if (task === 'transcription') return `${head}  -F ${quote(`model=${model}`)} \\\n  -F file=@speech.wav\n`
  const body = quote(JSON.stringify(buildExample(task, model)))
  const into = task === 'speech' ? ' \\\n  --output speech.mp3' : ''
  return `${head}  -H 'Content-Type: application/json' \\\n  -d ${body}${into}\n`
}

/** A word of a shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function writePython({ origin, model, task, needsKey }: SnippetFacts): string {
  const key = needsKey ? 'os.environ["LEASEHOLD_KEY"]' : '"unused"'
  const name = JSON.stringify(model)
  const imports = needsKey ? 'import os\n' : ''
  if (task === 'rerank')
    return `${imports}import requests

answer = requests.post(
    "${origin}${paths.rerank}",
${needsKey ? `    headers={"Authorization": f"Bearer {${key}}"},\n` : ''}    json={"model": ${name}, "query": "…", "documents": ["…", "…"]},
)
print(answer.json()["results"])
`
  const client = `${imports}from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key=${key})
`
  if (task === 'embeddings')
    return `${client}answer = client.embeddings.create(model=${name}, input=["…"])
print(len(answer.data[0].embedding))
`
  if (task === 'images')
    return `import base64
${client}answer = client.images.generate(model=${name}, prompt="…", response_format="b64_json")
open("image.png", "wb").write(base64.b64decode(answer.data[0].b64_json))
`
  if (task === 'speech')
    return `${client}answer = client.audio.speech.create(model=${name}, input="…", voice="…")
answer.write_to_file("speech.mp3")
`
  if (task === 'transcription')
    return `${client}answer = client.audio.transcriptions.create(model=${name}, file=open("speech.wav", "rb"))
print(answer.text)
`
  return `${client}stream = client.chat.completions.create(
    model=${name},
    stream=True,
    messages=[{"role": "user", "content": "…"}],
)
for part in stream:
    if part.choices:
        print(part.choices[0].delta.content or "", end="")
`
}

function writeTypeScript({ origin, model, task, needsKey }: SnippetFacts): string {
  const name = JSON.stringify(model)
  const key = needsKey ? 'process.env.LEASEHOLD_KEY' : "'unused'"
  if (task === 'rerank')
    return `const answer = await fetch('${origin}${paths.rerank}', {
  method: 'POST',
  headers: { 'content-type': 'application/json'${needsKey ? `, authorization: \`Bearer \${${key}}\`` : ''} },
  body: JSON.stringify({ model: ${name}, query: '…', documents: ['…', '…'] }),
})
console.log((await answer.json()).results)
`
  const client = `import OpenAI from 'openai'

const client = new OpenAI({ baseURL: '${origin}/v1', apiKey: ${key} })
`
  if (task === 'embeddings')
    return `${client}const answer = await client.embeddings.create({ model: ${name}, input: ['…'] })
console.log(answer.data[0]?.embedding.length)
`
  if (task === 'images')
    return `import { writeFile } from 'node:fs/promises'
${client}const answer = await client.images.generate({ model: ${name}, prompt: '…', response_format: 'b64_json' })
await writeFile('image.png', answer.data?.[0]?.b64_json ?? '', 'base64')
`
  if (task === 'speech')
    return `import { writeFile } from 'node:fs/promises'
${client}const answer = await client.audio.speech.create({ model: ${name}, input: '…', voice: '…' })
await writeFile('speech.mp3', Buffer.from(await answer.arrayBuffer()))
`
  if (task === 'transcription')
    return `import { createReadStream } from 'node:fs'
${client}const file = createReadStream('speech.wav')
const answer = await client.audio.transcriptions.create({ model: ${name}, file })
console.log(answer.text)
`
  return `${client}const stream = await client.chat.completions.create({
  model: ${name},
  stream: true,
  messages: [{ role: 'user', content: '…' }],
})
for await (const part of stream) process.stdout.write(part.choices[0]?.delta?.content ?? '')
`
}
