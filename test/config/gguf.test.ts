import { mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { estimateMemory, readGguf } from '../../src/config/gguf.ts'
import { readGgufHeader } from '../../src/config/gguf-header.ts'
import { writeModel } from '../llama/model.ts'
import { text, u32, u64, writeGguf } from './gguf-file.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'leasehold-gguf-'))
})
afterEach(() => rm(folder, { recursive: true }))

/** A file with these values and the names of these tensors. */
async function write(name: string, values: object, tensors: readonly string[] = []): Promise<string> {
  return writeGguf(join(folder, name), values, tensors)
}

describe('a GGUF file', () => {
  test('that llama.cpp loads is read, and its memory is what llama-server logs', async () => {
    const file = join(folder, 'tiny.f16.gguf')
    await writeModel(file, { pieces: [' a', ' b'], width: 512, layers: 4, contextTokens: 8192 })
    const model = await readGguf(file)
    expect(model).toMatchObject({
      file,
      name: 'tiny',
      architecture: 'llama',
      // It states a pooling as embedding models do, and has a chat template.
      kind: 'chat',
      quantization: 'F16',
      contextTokens: 8192,
      template: { tools: true, thinking: true },
      missing: [],
      projectors: [],
    })
    // llama-server says 64.00 MiB for this model at this context.
    expect(estimateMemory(model, 8192)).toEqual({ weightBytes: model.bytes, cacheBytes: 64 * 1024 * 1024 })
    expect(estimateMemory(model, 8192, 'q8_0').cacheBytes).toBe(34 * 1024 * 1024)
    expect(model.bytes).toBeGreaterThan(4 * 8_000_000)
  })

  test('counts what each layer keeps: fewer heads, other widths, windows, layers without a cache', async () => {
    const file = await write('m.gguf', {
      'general.architecture': 'x',
      'x.block_count': 4,
      'x.embedding_length': 64,
      'x.attention.head_count': 4,
      'x.attention.head_count_kv': [2, 2, 0, 2],
      'x.attention.key_length': 8,
      'x.attention.value_length': 4,
      'x.attention.sliding_window': 100,
      'x.attention.sliding_window_pattern': 2,
    })
    const model = await readGguf(file)
    expect(model.layers).toEqual([
      { keyValues: 16, valueValues: 8, windowTokens: 612 },
      { keyValues: 16, valueValues: 8 },
      { keyValues: 0, valueValues: 0, windowTokens: 612 },
      { keyValues: 16, valueValues: 8 },
    ])
    expect(estimateMemory(model, 1000).cacheBytes).toBe((612 + 1000 + 1000) * 24 * 2)
    expect(estimateMemory(model, 100).cacheBytes).toBe(3 * 100 * 24 * 2)
  })

  test.each([
    ['chat.gguf', { 'tokenizer.chat_template': '{{ messages }}' }, [], 'chat'],
    ['base.gguf', {}, [], 'base'],
    ['e.gguf', { 'general.architecture': 'nomic-bert' }, [], 'embedding'],
    ['e.gguf', { 'x.pooling_type': 3 }, [], 'embedding'],
    ['e.gguf', { 'x.attention.causal': false, 'tokenizer.chat_template': 'x' }, [], 'embedding'],
    ['r.gguf', { 'x.pooling_type': 4 }, [], 'reranker'],
    ['r.gguf', {}, ['blk.0', 'cls.output.weight'], 'reranker'],
    ['bge-reranker-v2.gguf', {}, [], 'reranker'],
    ['mmproj-x.gguf', { 'general.architecture': 'clip' }, [], 'projector'],
    ['lora.gguf', { 'general.type': 'adapter' }, [], 'adapter'],
  ])('%s with %j is of its kind', async (name, values, tensors, kind) => {
    const file = await write(name, { 'general.architecture': 'x', ...values }, tensors)
    expect((await readGguf(file)).kind).toBe(kind)
  })

  test.each([
    ['x.gguf', { 'general.name': 'Qwen3 8B' }, 'Qwen3 8B', undefined],
    ['x.gguf', { 'general.basename': 'Qwen3', 'general.size_label': '8B' }, 'Qwen3 8B', undefined],
    ['qwen3-8b-Q4_K_M.gguf', {}, 'qwen3-8b', 'Q4_K_M'],
    ['qwen3-8b-UD-Q4_K_XL-00001-of-00001.gguf', {}, 'qwen3-8b', 'UD-Q4_K_XL'],
    ['x-q8_0.gguf', { 'general.file_type': 15 }, 'x', 'Q4_K_M'],
  ])('%s with %j is named', async (fileName, values, name, quantization) => {
    const model = await readGguf(await write(fileName, values))
    expect({ name: model.name, quantization: model.quantization }).toEqual({ name, quantization })
  })

  test('in several parts has the size of all parts, lists missing parts, and finds projectors beside it', async () => {
    const first = await write('m-00001-of-00003.gguf', { 'split.count': 3 })
    const second = await write('m-00002-of-00003.gguf', {})
    const projector = await write('mmproj-m.gguf', { 'general.architecture': 'clip' })
    const { bytes, missing, projectors } = await readGguf(first)
    expect({ missing, projectors }).toEqual({
      missing: [join(folder, 'm-00003-of-00003.gguf')],
      projectors: [projector],
    })
    expect(bytes).toBe((await readGgufHeader(first)).bytes + (await readGgufHeader(second)).bytes)
  })

  test('with a large vocabulary is read without keeping it', async () => {
    const tokens = Array.from({ length: 60_000 }, (_, index) => `token ${index}`)
    const file = await write('m.gguf', { tokens, scores: tokens.map((_, index) => index), last: 7 })
    const { values } = await readGgufHeader(file)
    expect([...values.values()]).toEqual([{ items: 60_000 }, { items: 60_000 }, 7])
  })
})

describe('a broken or hostile file is refused', () => {
  const refuse = async (bytes: Buffer, message: RegExp) => {
    const file = join(folder, 'bad.gguf')
    await writeFile(file, bytes)
    await expect(readGgufHeader(file)).rejects.toThrow(message)
  }
  const head = (values: number | bigint, ...rest: Buffer[]) =>
    Buffer.concat([Buffer.from('GGUF'), u32(3), u64(0), u64(values), ...rest])

  test.each([
    ['another format', Buffer.from('PK\x03\x04 and more'), /not a GGUF file/],
    ['an empty file', Buffer.alloc(0), /ends within its header/],
    ['version 1', Buffer.concat([Buffer.from('GGUF'), u32(1)]), /version 1 is not read/],
    ['big-endian', Buffer.concat([Buffer.from('GGUF'), Buffer.from([0, 0, 0, 3])]), /big-endian/],
    ['too many values', head(2n ** 64n - 1n), /a count of 18446744073709551615 does not fit/],
    ['a long key', head(1, u64(2n ** 40n)), /does not fit into the file/],
    ['an unknown type', head(1, text('k'), u32(99)), /99 is not a type/],
    ['a long list', head(1, text('k'), u32(9), u32(4), u64(2n ** 50n)), /does not fit/],
  ])('%s', (_, bytes, message) => refuse(bytes, message))

  test('wherever it was cut', async () => {
    const file = join(folder, 'cut.gguf')
    await writeModel(file, { pieces: [' a', ' b'] })
    const { tensors } = await readGgufHeader(file)
    expect(tensors.length).toBeGreaterThan(0)
    for (const bytes of [2000, 500, 100, 20, 4]) {
      await truncate(file, bytes)
      await expect(readGgufHeader(file)).rejects.toThrow(RangeError)
    }
  })

  test('is told to be cut where it ends before its last tensor', async () => {
    const file = join(folder, 'cut.gguf')
    await writeModel(file, { pieces: [' a', ' b'] })
    const { bytes, cut } = await readGguf(file)
    expect(cut).toEqual([])
    await truncate(file, Math.floor(bytes / 2))
    expect((await readGguf(file)).cut).toEqual([file])
    const part = join(folder, 'cut-00001-of-00002.gguf')
    await rename(file, part)
    await writeFile(join(folder, 'cut-00002-of-00002.gguf'), 'GGUF')
    expect((await readGguf(part)).cut).toEqual([part, join(folder, 'cut-00002-of-00002.gguf')])
  })

  test('lists within lists without end', async () => {
    const list = Buffer.concat([u32(9), u64(1)])
    const bytes = head(1, text('k'), u32(9), ...Array.from({ length: 50 }, () => list), u32(4), u64(0))
    await refuse(bytes, /nested too deeply/)
  })
})
