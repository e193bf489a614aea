import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { findKeptModels, findNamedModels } from '../../../src/cli/init/find-models.ts'
import { nameModels } from '../../../src/cli/init/model-names.ts'
import { listModelPlaces } from '../../../src/cli/init/model-places.ts'
import { chatValues, toHeader, writeHeader, writeOllamaModel } from './gguf-files.ts'

function createFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-models-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

test('the places of llama.cpp, Hugging Face, LM Studio and Ollama are looked at, each file once', async () => {
  const home = createFolder()
  const places = listModelPlaces({ HOME: home }, 'linux').filter(({ folder }) => folder.startsWith(home))
  const hub = join(home, '.cache/huggingface/hub/models--unsloth--Qwen3-8B-GGUF')
  const blob = writeHeader(join(hub, 'blobs/abc'), chatValues)
  for (const revision of ['1', '2']) {
    mkdirSync(join(hub, 'snapshots', revision), { recursive: true })
    symlinkSync(blob, join(hub, 'snapshots', revision, 'Qwen3-8B-Q4_K_M.gguf'))
  }
  writeHeader(join(home, '.cache/llama.cpp/ggml-org_gemma-3-4b-it-GGUF_gemma-3-4b-it-Q8_0.gguf'), chatValues)
  writeHeader(join(home, '.lmstudio/models/lmstudio-community/Phi-4-GGUF/Phi-4-Q6_K.gguf'), chatValues)
  const ollama = join(home, '.ollama/models')
  const [model = '', projector = ''] = writeOllamaModel(ollama, 'registry.ollama.ai/library/llava/7b', {
    model: { ...chatValues, 'general.name': 'LLaVA' },
    projector: { 'general.architecture': 'clip' },
  })
  writeOllamaModel(ollama, 'registry.ollama.ai/jane/llava/copy', {
    model: { ...chatValues, 'general.name': 'LLaVA' },
  })
  writeFileSync(join(ollama, 'manifests/registry.ollama.ai/library/llava/broken'), '{"layers":7}')
  const { models, broken } = await findKeptModels(places)
  expect(broken).toEqual([])
  const names = nameModels(models)
  expect(names.map(({ model, aliases }) => [model, ...aliases])).toEqual([
    ['gemma-3-4b-it-q8_0', 'gemma-3-4b-it'],
    ['qwen3-8b-q4_k_m', 'qwen3-8b'],
    ['phi-4-q6_k', 'phi-4'],
    ['llava-7b-q4_k_m', 'llava-7b', 'llava:7b'],
  ])
  expect(models.at(-1)).toMatchObject({ file: model, projectors: [projector] })
})

test('what cannot be loaded is told with its reason, and the rest is found', async () => {
  const folder = createFolder()
  const good = writeHeader(join(folder, 'sub/good.gguf'), chatValues)
  writeFileSync(join(folder, 'empty.gguf'), '')
  writeFileSync(join(folder, 'page.gguf'), '<html>')
  writeHeader(join(folder, 'parts-Q4_0-00001-of-00002.gguf'), { ...chatValues, 'split.count': 2 })
  writeHeader(join(folder, 'tail-Q4_0-00002-of-00002.gguf'), { ...chatValues, 'split.count': 2 })
  const { 'tokenizer.ggml.model': _, ...image } = { ...chatValues, 'general.architecture': 'flux' }
  writeHeader(join(folder, 'flux.gguf'), image)
  writeFileSync(join(folder, 'vocab.gguf'), toHeader(chatValues, 0))
  writeHeader(join(folder, 'mmproj-good.gguf'), { 'general.architecture': 'clip' })
  mkdirSync(join(folder, 'folder.gguf'))
  symlinkSync(folder, join(folder, 'around'))
  const { models, broken } = await findNamedModels(['.'], folder)
  expect(models.map(({ file }) => file)).toEqual([good])
  expect(broken.map(({ file, reason }) => [file.slice(folder.length + 1), reason])).toEqual([
    ['empty.gguf', 'the file ends within its header'],
    ['flux.gguf', 'it has no vocabulary, so it is no language model (flux)'],
    ['page.gguf', 'this is not a GGUF file'],
    ['parts-Q4_0-00001-of-00002.gguf', 'the part parts-Q4_0-00002-of-00002.gguf is not there'],
    ['tail-Q4_0-00002-of-00002.gguf', 'the part tail-Q4_0-00001-of-00002.gguf is not there'],
    ['vocab.gguf', 'it holds no weights'],
  ])
  await expect(findNamedModels(['nowhere'], folder)).rejects.toThrow('nowhere does not exist.')
})

test.skipIf(process.getuid?.() === 0)('a file that may not be read is told', async () => {
  const folder = createFolder()
  chmodSync(writeHeader(join(folder, 'secret.gguf'), chatValues), 0o000)
  const { broken } = await findNamedModels([folder], folder)
  expect(broken).toMatchObject([{ reason: expect.stringContaining('EACCES') }])
})

test('names are short where one model has them, exact where several would', () => {
  const model = (file: string, quantization: string | undefined, label?: string) =>
    ({ file, quantization, label, kind: 'chat' }) as never
  const names = nameModels([
    model('/m/Qwen3-8B-Q4_K_M.gguf', 'Q4_K_M'),
    model('/m/Qwen3-8B-Q8_0.gguf', 'Q8_0'),
    model('/other/Qwen3-8B-Q8_0.gguf', 'Q8_0'),
    model('/m/default.gguf', undefined),
    model('/m/UD/GLM 4.5 Air-UD-Q4_K_XL-00001-of-00002.gguf', 'UD-Q4_K_XL'),
    model('/blobs/sha256-ab', 'Q4_0', 'hf.co/bartowski/Qwen3-0.6B-GGUF:Q4_0'),
    model('/m/---.gguf', undefined),
  ])
  expect(names.map(({ id, model, aliases }) => [id, model, ...aliases])).toEqual([
    ['qwen3-8b-q4_k_m', 'qwen3-8b-q4_k_m'],
    ['qwen3-8b-q8_0', 'qwen3-8b-q8_0'],
    ['qwen3-8b-q8_0-2', 'qwen3-8b-q8_0-2'],
    ['default-model', 'default'],
    ['glm-4.5-air', 'glm-4.5-air-ud-q4_k_xl', 'glm-4.5-air'],
    ['qwen3-0.6b-gguf-q4_0', 'qwen3-0.6b-gguf-q4_0', 'hf.co/bartowski/qwen3-0.6b-gguf:q4_0'],
    ['model', 'model'],
  ])
})
