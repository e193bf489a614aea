import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'

/** What a made-up model is. */
export interface ModelOptions {
  /** What it answers to everything, token by token. No piece may come twice. */
  readonly pieces: readonly string[]
  /** Whether it begins again after the last piece, instead of ending its answer. @default false */
  readonly isEndless?: boolean
  /** Embedding size, a multiple of 64. With `layers` it decides how long loading and each token take. @default 64 */
  readonly width?: number
  /** `width` 512: 8.4 MB each. @default 2 */
  readonly layers?: number
  /** Size of the context, in tokens. A prompt has about one token per byte. @default 4096 */
  readonly contextTokens?: number
  /** Whether the file has a kind of pooling: Ollama takes such a model for one that makes embeddings only. @default true */
  readonly hasPooling?: boolean
}

/**
 * Writes a GGUF file of architecture `llama` that llama.cpp loads and that always answers the same. Its layers are
 * zeros, which leave the current token's embedding as it is, and the output row of each piece is the embedding of
 * the piece before it. Zeros are a hole in the file: they cost time and memory to load, but no disk.
 */
export async function writeModel(path: string, options: ModelOptions): Promise<void> {
  const {
    pieces,
    isEndless = false,
    width = 64,
    layers = 2,
    contextTokens = 4096,
    hasPooling = true,
  } = options
  const tokens = [...specialTokens, ...pieces.map((piece) => toToken(piece.replaceAll(' ', SPACE), NORMAL))]
  const firstPiece = specialTokens.length
  const lastPiece = tokens.length - 1
  /** Everything that is no piece is followed by the first one; so is the last piece of an endless answer. */
  const toName = (token: number) =>
    token < firstPiece || (isEndless && token === lastPiece) ? 'start' : String(token)
  const toPredecessor = (token: number) => {
    if (token === firstPiece) return 'start'
    if (token > firstPiece) return String(token - 1)
    return token === END_OF_ANSWER && !isEndless ? String(lastPiece) : undefined
  }
  const toMatrix = (one: number, nameOf: (token: number) => string | undefined) =>
    Buffer.concat(tokens.map((_, token) => toRow(width, one, nameOf(token))))

  const metadata = [
    toEntry('general.architecture', toText('llama')),
    toEntry('general.alignment', toU32(ALIGNMENT)),
    toEntry('llama.vocab_size', toU32(tokens.length)),
    toEntry('llama.context_length', toU32(contextTokens)),
    toEntry('llama.embedding_length', toU32(width)),
    toEntry('llama.block_count', toU32(layers)),
    toEntry('llama.feed_forward_length', toU32(4 * width)),
    toEntry('llama.attention.head_count', toU32(width / HEAD_WIDTH)),
    toEntry('llama.attention.layer_norm_rms_epsilon', toF32(1e-5)),
    ...(hasPooling ? [toEntry('llama.pooling_type', toU32(1))] : []),
    toEntry('tokenizer.ggml.model', toText('llama')),
    toEntry('tokenizer.ggml.tokens', toList(tokens.map(({ text }) => toText(text)))),
    toEntry('tokenizer.ggml.scores', toList(tokens.map((_, token) => toF32(-token)))),
    toEntry('tokenizer.ggml.token_type', toList(tokens.map(({ kind }) => toI32(kind)))),
    toEntry('tokenizer.ggml.bos_token_id', toU32(1)),
    toEntry('tokenizer.ggml.eos_token_id', toU32(END_OF_ANSWER)),
    toEntry('tokenizer.ggml.unknown_token_id', toU32(0)),
    toEntry('tokenizer.ggml.add_space_prefix', toBool(false)),
    toEntry('tokenizer.chat_template', toText(chatTemplate)),
  ]
  const tensors: Tensor[] = [
    toF16Tensor('token_embd.weight', [width, tokens.length], toMatrix(F16_ONE, toName)),
    toF16Tensor('output.weight', [width, tokens.length], toMatrix(F16_HALF, toPredecessor)),
    { ...toNorm('output_norm.weight', width), data: Buffer.from(new Float32Array(width).fill(1).buffer) },
    ...Array.from({ length: layers }, (_, layer) => toLayer(`blk.${layer}`, width)).flat(),
  ]
  await writeFile(path, metadata, tensors)
}

/** Cuts a text into pieces of about four characters, no two alike, as {@link ModelOptions} wants them. */
export function toPieces(text: string): string[] {
  const pieces: string[] = []
  for (let start = 0, end = 0; start < text.length; start = end) {
    end = start + 4
    while (pieces.includes(text.slice(start, end)) && end < text.length) end += 1
    pieces.push(text.slice(start, end))
  }
  return pieces
}

// Kinds of tokens.
const NORMAL = 1
const UNKNOWN = 2
const CONTROL = 3
const BYTE = 6
/** How this tokenizer writes a space. */
const SPACE = '\u2581'
const END_OF_ANSWER = 2

interface Token {
  readonly text: string
  readonly kind: number
}

const specialTokens: readonly Token[] = [
  toToken('<unk>', UNKNOWN),
  toToken('<s>', CONTROL),
  toToken('</s>', CONTROL),
  ...Array.from({ length: 256 }, (_, byte) =>
    toToken(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, BYTE),
  ),
  toToken('<|im_start|>', CONTROL),
  toToken('<|im_end|>', CONTROL),
  toToken(SPACE, NORMAL),
]

function toToken(text: string, kind: number): Token {
  return { text, kind }
}

/**
 * ChatML with tools and reasoning: definitions in a system turn, calls as tagged JSON, thoughts in `<think>`. From
 * this text llama-server works out how to read such answers.
 */
const chatTemplate = [
  "{%- if tools %}{{- '<|im_start|>system\\nTools:\\n<tools>' }}",
  "{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}",
  "{{- '\\n</tools>\\nCall one like this:\\n<tool_call>\\n' }}",
  `{{- '{"name": <name>, "arguments": <object>}\\n</tool_call><|im_end|>\\n' }}{%- endif %}`,
  '{%- for m in messages %}',
  "{%- if m.role == 'tool' %}",
  "{{- '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}",
  "{%- else %}{{- '<|im_start|>' + m.role }}",
  "{%- if m.reasoning_content %}{{- '\\n<think>\\n' + m.reasoning_content + '\\n</think>\\n' }}{%- endif %}",
  "{%- if m.content %}{{- '\\n' + m.content }}{%- endif %}",
  `{%- for c in m.tool_calls or [] %}{{- '\\n<tool_call>\\n{"name": "' + c.function.name }}`,
  `{{- '", "arguments": ' }}{{- c.function.arguments | tojson }}{{- '}\\n</tool_call>' }}{%- endfor %}`,
  "{{- '<|im_end|>\\n' }}{%- endif %}{%- endfor %}",
  "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
].join('\n')

/** The bits of 1 and of 1/2 as 16-bit floats. Half of them keeps the right token's lead large, and finite. */
const F16_ONE = 0x3c00
const F16_HALF = 0x3800
const F16_SIGN = 0x8000
const HEAD_WIDTH = 16

/** A row of plus and minus `one`, drawn by its name: rows of other names are almost at right angles. No name: zeros. */
function toRow(width: number, one: number, name: string | undefined): Buffer {
  const row = Buffer.alloc(2 * width)
  if (name === undefined) return row
  const bits = createHash('shake256', { outputLength: width / 8 })
    .update(name)
    .digest()
  for (let column = 0; column < width; column += 1) {
    const isNegative = (bits.readUInt8(column >> 3) >> (column & 7)) & 1
    row.writeUInt16LE(isNegative ? one | F16_SIGN : one, 2 * column)
  }
  return row
}

interface Tensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly type: number
  readonly bytes: number
  /** Absent: zeros. */
  readonly data?: Buffer
}

const TENSOR_F32 = 0
const TENSOR_F16 = 1

function toNorm(name: string, width: number): Tensor {
  return { name, shape: [width], type: TENSOR_F32, bytes: 4 * width }
}

function toF16Tensor(name: string, shape: readonly [number, number], data?: Buffer): Tensor {
  const bytes = 2 * shape[0] * shape[1]
  return { name, shape, type: TENSOR_F16, bytes, ...(data === undefined ? {} : { data }) }
}

function toLayer(name: string, width: number): Tensor[] {
  return [
    toNorm(`${name}.attn_norm.weight`, width),
    toNorm(`${name}.ffn_norm.weight`, width),
    ...['attn_q', 'attn_k', 'attn_v', 'attn_output'].map((part) =>
      toF16Tensor(`${name}.${part}.weight`, [width, width]),
    ),
    toF16Tensor(`${name}.ffn_gate.weight`, [width, 4 * width]),
    toF16Tensor(`${name}.ffn_up.weight`, [width, 4 * width]),
    toF16Tensor(`${name}.ffn_down.weight`, [4 * width, width]),
  ]
}

const ALIGNMENT = 32
const align = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT

/** GGUF version 3: head, metadata, list of tensors, then their data. What is not written is a hole, that is zeros. */
async function writeFile(
  path: string,
  metadata: readonly Buffer[],
  tensors: readonly Tensor[],
): Promise<void> {
  let end = 0
  const offsets = tensors.map(({ bytes }) => {
    const offset = end
    end += align(bytes)
    return offset
  })
  const infos = tensors.map(({ name, shape, type }, index) =>
    Buffer.concat([
      toText(name).bytes,
      toU32(shape.length).bytes,
      ...shape.map(toU64),
      toU32(type).bytes,
      toU64(offsets[index] ?? 0),
    ]),
  )
  const counts = [toU32(3).bytes, toU64(tensors.length), toU64(metadata.length)]
  const head = Buffer.concat([Buffer.from('GGUF'), ...counts, ...metadata, ...infos])
  await using file = await open(path, 'w')
  await file.truncate(align(head.length) + end)
  await file.write(head, 0, head.length, 0)
  for (const [index, { data }] of tensors.entries())
    if (data !== undefined) await file.write(data, 0, data.length, align(head.length) + (offsets[index] ?? 0))
}

/** A metadata value: its type by GGUF's numbers, and its bytes. */
interface Value {
  readonly type: number
  readonly bytes: Buffer
}

function toEntry(key: string, { type, bytes }: Value): Buffer {
  return Buffer.concat([toText(key).bytes, toU32(type).bytes, bytes])
}

function toU32(value: number): Value {
  return { type: 4, bytes: Buffer.from(new Uint32Array([value]).buffer) }
}

function toI32(value: number): Value {
  return { type: 5, bytes: Buffer.from(new Int32Array([value]).buffer) }
}

function toF32(value: number): Value {
  return { type: 6, bytes: Buffer.from(new Float32Array([value]).buffer) }
}

function toBool(value: boolean): Value {
  return { type: 7, bytes: Buffer.from([Number(value)]) }
}

function toText(value: string): Value {
  const bytes = Buffer.from(value)
  return { type: 8, bytes: Buffer.concat([toU64(bytes.length), bytes]) }
}

function toList(values: readonly Value[]): Value {
  const bytes = [toU32(values[0]?.type ?? 0).bytes, toU64(values.length), ...values.map(({ bytes }) => bytes)]
  return { type: 9, bytes: Buffer.concat(bytes) }
}

function toU64(value: number): Buffer {
  return Buffer.from(new BigUint64Array([BigInt(value)]).buffer)
}
