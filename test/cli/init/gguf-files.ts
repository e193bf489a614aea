import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Writes a GGUF file that holds these values and one tensor of 32 bytes: enough for what its header says. */
export function writeHeader(file: string, values: Readonly<Record<string, string | number>>): string {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, toHeader(values))
  return file
}

/** Writes a model as Ollama keeps it: a manifest, and blobs by their digests. Gives the path of the model's blob. */
export function writeOllamaModel(
  folder: string,
  name: string,
  layers: Readonly<Record<string, Readonly<Record<string, string | number>>>>,
): string[] {
  const written = Object.entries(layers).map(([kind, values]) => {
    const bytes = toHeader(values)
    const digest = createHash('sha256').update(bytes).digest('hex')
    const file = join(folder, 'blobs', `sha256-${digest}`)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, bytes)
    return { file, layer: { mediaType: `application/vnd.ollama.image.${kind}`, digest: `sha256:${digest}` } }
  })
  const manifest = join(folder, 'manifests', name)
  mkdirSync(dirname(manifest), { recursive: true })
  writeFileSync(manifest, JSON.stringify({ schemaVersion: 2, layers: written.map(({ layer }) => layer) }))
  return written.map(({ file }) => file)
}

/** What the header of a chat model holds: 2 layers of 64 + 64 values, 32768 tokens of context. */
export const chatValues = {
  'general.architecture': 'x',
  'general.file_type': 15,
  'x.context_length': 32_768,
  'x.block_count': 2,
  'x.embedding_length': 64,
  'x.attention.head_count': 1,
  'tokenizer.ggml.model': 'gpt2',
  'tokenizer.chat_template': '{{ tools }} <think>',
} as const

const ALIGNMENT = 32

/** The bytes of such a file. */
export function toHeader(values: Readonly<Record<string, string | number>>, tensors = 1): Buffer {
  const u32 = (value: number) => Buffer.from(new Uint32Array([value]).buffer)
  const u64 = (value: number) => Buffer.from(new BigUint64Array([BigInt(value)]).buffer)
  const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])
  const entries = Object.entries(values).map(([key, value]) =>
    Buffer.concat([text(key), ...(typeof value === 'string' ? [u32(8), text(value)] : [u32(4), u32(value)])]),
  )
  const tensor = Buffer.concat([text('t'), u32(1), u64(8), u32(0), u64(0)])
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors),
    u64(entries.length),
    ...entries,
    ...Array(tensors).fill(tensor),
  ])
  return Buffer.concat([head, Buffer.alloc(ALIGNMENT - (head.length % ALIGNMENT) + ALIGNMENT)])
}
