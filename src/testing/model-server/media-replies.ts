import { createHash } from 'node:crypto'
import type { Call } from './call.ts'
import { findCreated } from './call.ts'
import type { JsonObject } from './json.ts'
import type { Reply } from './reply.ts'
import { buildBytesReply, buildErrorReply, buildJsonReply } from './reply.ts'

const sampleRateHz = 8000
const toneHz = 440

/** One grey pixel. */
const pngBase64 =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=='

/** `POST /v1/audio/speech`: a tenth of a second of a 440 Hz tone as a WAV file, whatever the text. */
export function buildSpeechReply(body: JsonObject): Reply {
  if (typeof body.input !== 'string') return buildErrorReply(400, '"input" must be a string')
  return buildBytesReply(buildToneWav(), 'audio/wav')
}

/** `POST /v1/audio/transcriptions`: what arrived in the multipart field `file`: its name, its size in bytes, its sha256. */
export async function buildTranscriptionReply(call: Call): Promise<Reply> {
  const form = await readForm(call)
  const file = form?.get('file')
  if (!(file instanceof File)) return buildErrorReply(400, 'expected multipart/form-data with a "file"')
  const bytes = Buffer.from(await file.arrayBuffer())
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const facts = { file: file.name, bytes: bytes.length, sha256 }
  return buildJsonReply({ text: `${file.name}: ${bytes.length} bytes, sha256 ${sha256}`, ...facts })
}

/** `POST /v1/images/generations`: `n` times the same grey pixel. */
export function buildImagesReply(body: JsonObject, call: Call): Reply {
  if (typeof body.prompt !== 'string') return buildErrorReply(400, '"prompt" must be a string')
  const length = typeof body.n === 'number' ? Math.min(Math.max(body.n, 1), 10) : 1
  return buildJsonReply({
    created: findCreated(call),
    data: Array.from({ length }, () => ({ b64_json: pngBase64 })),
  })
}

async function readForm({ body, headers }: Call): Promise<FormData | undefined> {
  try {
    return await new Response(new Uint8Array(body), {
      headers: { 'content-type': headers['content-type'] ?? '' },
    }).formData()
  } catch {
    return undefined
  }
}

function buildToneWav(): Buffer {
  const samples = sampleRateHz / 10
  const wav = Buffer.alloc(44 + samples * 2)
  wav.write('RIFF', 0)
  wav.writeUInt32LE(wav.length - 8, 4)
  wav.write('WAVEfmt ', 8)
  wav.writeUInt32LE(16, 16)
  wav.writeUInt16LE(1, 20)
  wav.writeUInt16LE(1, 22)
  wav.writeUInt32LE(sampleRateHz, 24)
  wav.writeUInt32LE(sampleRateHz * 2, 28)
  wav.writeUInt16LE(2, 32)
  wav.writeUInt16LE(16, 34)
  wav.write('data', 36)
  wav.writeUInt32LE(samples * 2, 40)
  for (let index = 0; index < samples; index += 1) {
    wav.writeInt16LE(
      Math.round(8000 * Math.sin((2 * Math.PI * toneHz * index) / sampleRateHz)),
      44 + index * 2,
    )
  }
  return wav
}
