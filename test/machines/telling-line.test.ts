import { expect, test } from 'vitest'
import { findTellingLine } from '../../machines/telling-line.ts'

test.each([
  [
    'llama.cpp, model file missing',
    [
      "0.00.038.033 I srv    load_model: loading model '/nonexist.gguf'",
      "0.00.038.140 E gguf_init_from_file: failed to open GGUF file '/nonexist.gguf' (No such file or directory)",
      '0.00.038.253 E llama_model_load: error loading model: llama_model_loader: failed to load model from /nonexist.gguf',
      '0.00.038.799 E srv  llama_server: exiting due to model loading error',
    ],
    'file',
    "gguf_init_from_file: failed to open GGUF file '/nonexist.gguf' (No such file or directory)",
  ],
  [
    'llama.cpp, not a model',
    [
      '0.00.037.384 E gguf_init_from_reader: failed to read magic',
      'E srv: exiting due to model loading error',
    ],
    'format',
    'gguf_init_from_reader: failed to read magic',
  ],
  [
    'llama.cpp, half a model',
    [
      "llama_model_load: error loading model: tensor 'blk.1.ffn_up.weight' data is not within the file bounds, model is corrupted or incomplete",
      'llama_model_load_from_file_impl: failed to load model',
    ],
    'format',
    "llama_model_load: error loading model: tensor 'blk.1.ffn_up.weight' data is not within the file bounds, model is corrupted or incomplete",
  ],
  [
    'llama.cpp, GPU full',
    [
      'ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000.00 MiB on device 0: cudaMalloc failed: out of memory',
      'alloc_tensor_range: failed to allocate CUDA0 buffer of size 9437184000',
      'llama_model_load: error loading model: unable to allocate CUDA0 buffer',
      'srv    load_model: failed to load model, /m.gguf',
      'main: exiting due to model loading error',
    ],
    'memory',
    'ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000.00 MiB on device 0: cudaMalloc failed: out of memory',
  ],
  ['llama.cpp, wrong flag', ['error: invalid argument: --foo'], 'argument', 'error: invalid argument: --foo'],
  [
    'a missing library',
    [
      'llama-server: error while loading shared libraries: libcuda.so.1: cannot open shared object file: No such file or directory',
    ],
    'library',
    'llama-server: error while loading shared libraries: libcuda.so.1: cannot open shared object file: No such file or directory',
  ],
  [
    'vLLM, GPU full',
    [
      'Traceback (most recent call last):',
      '  File "/x/worker.py", line 1, in <module>',
      'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.',
      'RuntimeError: Engine core initialization failed. See root cause above.',
    ],
    'memory',
    'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.',
  ],
  [
    'argparse',
    ['usage: api_server.py [-h]', 'api_server.py: error: unrecognized arguments: --foo'],
    'argument',
    'api_server.py: error: unrecognized arguments: --foo',
  ],
  [
    'Python without the package',
    ["ModuleNotFoundError: No module named 'vllm'"],
    'module',
    "ModuleNotFoundError: No module named 'vllm'",
  ],
  [
    'a shell script',
    ['./start.sh: line 2: llama-server: command not found'],
    'program',
    './start.sh: line 2: llama-server: command not found',
  ],
  [
    'another exception of Python',
    [
      'Traceback (most recent call last):',
      'an error occurred, retrying',
      'ValueError: bad shape (3, 4)',
      'bye',
    ],
    'other',
    'ValueError: bad shape (3, 4)',
  ],
])('%s: the line that says why is found', (_, lines, cause, line) => {
  expect(findTellingLine(lines)).toEqual({ cause, line })
})

test('lines without a complaint tell nothing', () => {
  expect(findTellingLine(['loading', 'warning: /sys/x: No such file or directory', 'bye'])).toBeUndefined()
  expect(findTellingLine([])).toBeUndefined()
})

test('a line is looked at and told in part only', () => {
  const line = findTellingLine([`error: ${'x'.repeat(100_000)}`])?.line ?? ''
  expect(line.length).toBeLessThan(320)
})
