import { dirname } from 'node:path'
import type { CompatFlags } from '../compat/flags.ts'

type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }

/** What a preset is filled in with. */
export interface EngineInput {
  /** The file or the name of the model; a path is absolute. */
  readonly model: string
  /** Size of the context in tokens, where one is asked for. */
  readonly context: number | undefined
  /** What the server shall call the model, where it can be told. */
  readonly name: string
}

/** How a kind of server sleeps where the file has `sleep`. */
export interface EngineSleep {
  readonly options: Readonly<Record<string, JsonValue>>
  /** What it needs for that, before the arguments and variables of the file. */
  readonly args?: readonly (readonly string[])[]
  readonly env?: Readonly<Record<string, string>>
  /** It sleeps by itself after this option with a number of seconds: it takes the place of `afterMs`. */
  readonly idleOption?: string
}

/** How a model of a server that runs already is loaded and unloaded. */
export interface EngineDaemon {
  readonly options: Readonly<Record<'load' | 'unload' | 'loaded', JsonValue>> & {
    /** Whether it gives up a load whose client goes away. */
    readonly endsWithClient?: true
  }
  /** How the daemon is started, for people. */
  readonly start: string
}

/** How a kind of model server is run. What a file states beside it wins. */
export interface Engine {
  /** Names of its program, the best first. */
  readonly programs: readonly string[]
  /** Folders to look into after those of PATH; `~` is the home of the user. */
  readonly places: readonly string[]
  /** The folder that it must run in, told by its command. Absent: any. */
  readonly toCwd?: (command: string) => string
  /** How to get it, for people. */
  readonly install: string
  /** Each an option with its value. An option that the file's own `args` state is left out. */
  readonly toArgs: (input: EngineInput) => readonly (readonly string[])[]
  /** Options that stand for one another: one of them in `args` replaces the preset's. */
  readonly synonyms?: readonly (readonly string[])[]
  readonly toEnv?: (input: EngineInput) => Readonly<Record<string, string>>
  /** Path of the health check. */
  readonly healthPath: string
  /** A port that all services of this engine share, because one server loads several models. */
  readonly port?: number
  readonly service: Readonly<Record<string, number>>
  /** `readyTimeoutMs` for a model that is no path, which the server downloads when it starts for the first time. */
  readonly downloadTimeoutMs?: number
  readonly compat: CompatFlags
  /** What a request must call the model. Absent: the name that `toArgs` gives it. */
  readonly toServedName?: (model: string) => string
  /** How it sleeps; what the file states in `sleep` wins. Absent: it cannot, or no request tells whether it sleeps. */
  readonly toSleep?: (input: EngineInput) => EngineSleep
  /** How one of its models is a service, while something else runs the server. */
  readonly toDaemon?: (input: EngineInput) => EngineDaemon
  /** Only its models are services: it is never run itself. */
  readonly isDaemon?: true
  /** `model` may be absent: the file lists the models. */
  readonly isModelOptional?: true
}

const PORT = `\${PORT}`
const HOST_AND_PORT = [
  ['--host', '127.0.0.1'],
  ['--port', PORT],
]

/** Where package managers and people put programs. */
const USUAL_PLACES = [
  '/usr/local/bin',
  '/usr/bin',
  '/opt/homebrew/bin',
  '/home/linuxbrew/.linuxbrew/bin',
  '/snap/bin',
  '/run/current-system/sw/bin',
  '~/.nix-profile/bin',
  '~/.local/bin',
  '~/bin',
]

/** The folders of a Python program: a virtual environment named after it. */
function toVenvs(name: string): readonly string[] {
  return [
    `~/${name}/.venv/bin`,
    `~/${name}/venv/bin`,
    `~/.venvs/${name}/bin`,
    `/opt/${name}/bin`,
    '~/.venv/bin',
  ]
}

function toOption(name: string, value: number | undefined): readonly (readonly string[])[] {
  return value === undefined ? [] : [[name, String(value)]]
}

/** Whether a model is named by its place and not by its name at a hub. `${VAR}` begins a path. */
export function isModelPath(model: string): boolean {
  return /^(\.{0,2}\/|~\/|\$\{)|\.(gguf|ggml|bin)$/i.test(model)
}

/** The presets by the name that a file gives. Their facts are those of `test/backends`. */
export const engines: Readonly<Record<string, Engine>> = {
  'llama.cpp': {
    programs: ['llama-server'],
    places: [...USUAL_PLACES, '~/llama.cpp/build/bin', '/opt/llama.cpp/bin'],
    install: 'brew install llama.cpp, or see https://github.com/ggml-org/llama.cpp',
    toArgs: ({ model, context, name }) => [
      [isModelPath(model) ? '--model' : '--hf-repo', model],
      // Without it the model is called by the path of its file.
      ['--alias', name],
      ...HOST_AND_PORT,
      // Tools need the templates; older builds have them off.
      ['--jinja'],
      ...toOption('--ctx-size', context),
    ],
    synonyms: [
      [
        '--model',
        '--hf-repo',
        '-m',
        '-hf',
        '-hfr',
        '-mu',
        '--model-url',
        '-dr',
        '--docker-repo',
        '--models-dir',
        '--models-preset',
      ],
      ['--alias', '-a'],
      ['--jinja', '--no-jinja'],
      ['--ctx-size', '-c'],
    ],
    healthPath: '/health',
    service: { readyTimeoutMs: 180_000, stopGraceMs: 15_000 },
    downloadTimeoutMs: 1_800_000,
    // It keeps some 600 MiB of a GPU. /props and /health do not wake it; /slots would.
    toSleep: () => ({
      options: { check: { path: '/props', field: 'is_sleeping' } },
      idleOption: '--sleep-idle-seconds',
    }),
    // Of its router: the answer to `load` comes at once, and the list tells when the model is loaded.
    toDaemon: ({ model }) => ({
      options: {
        load: [{ path: '/models/load', body: { model } }],
        unload: [{ path: '/models/unload', body: { model } }],
        loaded: {
          path: '/models',
          field: 'data.*',
          equals: { id: model, status: { value: 'loaded' } },
          failed: { id: model, status: { failed: true } },
        },
      },
      start: 'llama-server --models-dir DIR --no-models-autoload',
    }),
    // Tool schemas become grammars, and these keywords do not.
    compat: { toolSchemaProfile: 'llamacpp' },
  },
  vllm: {
    programs: ['vllm'],
    places: [...USUAL_PLACES, ...toVenvs('vllm')],
    install: 'uv tool install vllm, or see https://docs.vllm.ai',
    toArgs: ({ model, context, name }) => [
      ['serve', model],
      ['--served-model-name', name],
      ...HOST_AND_PORT,
      ...toOption('--max-model-len', context),
    ],
    synonyms: [['serve', '--model']],
    healthPath: '/health',
    // Weights, compilation and graph capture; it gives its children five seconds before it ends them itself.
    service: { readyTimeoutMs: 600_000, stopGraceMs: 30_000 },
    // The level is read from the query alone, and level 2 needs the weights to be loaded anew. The routes are those of
    // its development mode.
    toSleep: () => ({
      options: {
        request: [{ path: '/sleep?level=1', timeoutMs: 60_000 }],
        wake: [{ path: '/wake_up', timeoutMs: 60_000 }],
        check: { path: '/is_sleeping', field: 'is_sleeping' },
      },
      args: [['--enable-sleep-mode']],
      env: { VLLM_SERVER_DEV_MODE: '1' },
    }),
    compat: { supportsReasoningEffort: true, supportedReasoningEfforts: ['none', 'low', 'medium', 'high'] },
  },
  sglang: {
    programs: ['sglang'],
    places: [...USUAL_PLACES, ...toVenvs('sglang')],
    install: 'uv tool install sglang, or see https://docs.sglang.io',
    toArgs: ({ model, context, name }) => [
      ['serve'],
      ['--model-path', model],
      ['--served-model-name', name],
      ...HOST_AND_PORT,
      ...toOption('--context-length', context),
    ],
    synonyms: [['--model-path', '--model']],
    healthPath: '/health',
    // It drains without limit and looks every five seconds whether it is done.
    service: { readyTimeoutMs: 600_000, stopGraceMs: 30_000 },
    compat: { supportsReasoningEffort: true, supportedReasoningEfforts: ['low', 'medium', 'high'] },
  },
  mlx: {
    programs: ['mlx_lm.server'],
    places: [...USUAL_PLACES, ...toVenvs('mlx')],
    install: 'uv tool install mlx-lm, or see https://github.com/ml-explore/mlx-lm',
    toArgs: ({ model }) => [['--model', model], ...HOST_AND_PORT],
    healthPath: '/health',
    service: { readyTimeoutMs: 180_000, stopGraceMs: 15_000 },
    // Text parts only, and not with every chat template.
    compat: { requiresStringContent: true },
    // It would load any other name that a request has.
    toServedName: (model) => model,
  },
  inferrs: {
    programs: ['inferrs'],
    places: [...USUAL_PLACES, '~/.cargo/bin'],
    install: 'brew install ericcurtin/inferrs/inferrs, or see https://github.com/ericcurtin/inferrs',
    // Its default host is 0.0.0.0, with open CORS.
    toArgs: ({ model, context }) => [
      ['serve', model],
      ...HOST_AND_PORT,
      ...toOption('--max-seq-len', context),
    ],
    healthPath: '/health',
    service: { readyTimeoutMs: 180_000, stopGraceMs: 15_000 },
    compat: { requiresStringContent: true, supportsDeveloperRole: false, supportsUsageInStreaming: false },
    toServedName: (model) => model,
  },
  ds4: {
    programs: ['ds4-server'],
    places: [...USUAL_PLACES, '~/ds4', '/opt/ds4'],
    // It reads files beside it.
    toCwd: dirname,
    install: 'see https://github.com/antirez/ds4',
    toArgs: ({ model, context }) => [['--model', model], ...HOST_AND_PORT, ...toOption('--ctx', context)],
    // It has no /health; it opens its port when it has loaded.
    healthPath: '/v1/models',
    // On SIGTERM it writes its cache to disk. One worker serves one request after the other, from a queue without limit.
    service: { readyTimeoutMs: 300_000, stopGraceMs: 60_000, maxConcurrent: 1, maxQueue: 20 },
    // What ds4 itself recommends to its clients.
    compat: {
      supportsStore: false,
      supportsDeveloperRole: false,
      supportsReasoningEffort: true,
      supportsUsageInStreaming: true,
      maxTokensField: 'max_tokens',
      supportsStrictMode: false,
      thinkingFormat: 'deepseek',
      requiresReasoningContentOnAssistantMessages: true,
    },
    toServedName: () => 'deepseek-v4-flash',
  },
  tabbyapi: {
    programs: ['venv/bin/python', '.venv/bin/python'],
    places: ['~/tabbyAPI', '~/tabbyapi', '/opt/tabbyAPI', '/opt/tabbyapi'],
    toCwd: (command) => dirname(dirname(dirname(command))),
    install: 'see https://github.com/theroyallab/tabbyAPI',
    toArgs: ({ model, context }) => [
      ['main.py'],
      ...HOST_AND_PORT,
      ['--model-name', model],
      ...toOption('--max-seq-len', context),
    ],
    // /health says 200 without any model; this route says 503 then.
    healthPath: '/v1/model',
    service: { readyTimeoutMs: 300_000, stopGraceMs: 15_000 },
    // Its load is answered with a stream that ends when the model is loaded. With keys it wants the one of its admin.
    toSleep: ({ model }) => ({
      options: {
        request: [{ path: '/v1/model/unload' }],
        wake: [{ path: '/v1/model/load', body: { model_name: model }, timeoutMs: 300_000 }],
        check: { path: '/v1/model', status: 503 },
      },
    }),
    compat: {},
    toServedName: (model) => model,
  },
  koboldcpp: {
    programs: ['koboldcpp', 'koboldcpp.py', 'koboldcpp-linux-x64', 'koboldcpp-mac-arm64'],
    places: [...USUAL_PLACES, '~/koboldcpp', '/opt/koboldcpp'],
    install: 'see https://github.com/LostRuins/koboldcpp/releases',
    toArgs: ({ model, context }) => [
      ['--model', model],
      ...HOST_AND_PORT,
      ...toOption('--contextsize', context),
    ],
    // It opens its port when the model is loaded.
    healthPath: '/v1/models',
    service: { readyTimeoutMs: 180_000, stopGraceMs: 15_000 },
    // Each request ends the process that has the port, and starts another one a moment later. Without a model that one
    // answers 200 to everything, with an empty text.
    toSleep: ({ model }) => ({
      options: {
        request: [{ path: '/api/admin/reload_config', body: { filename: 'unload_model' } }],
        wake: [{ path: '/api/admin/reload_config', body: { filename: 'initial_model' }, timeoutMs: 180_000 }],
        check: { path: '/api/v1/model', field: 'result', equals: 'inactive' },
      },
      // Older versions have no administration without a folder.
      args: [['--admin'], ...(isModelPath(model) ? [['--admindir', dirname(model)]] : [])],
    }),
    compat: {},
  },
  tgi: {
    programs: ['text-generation-launcher'],
    places: [...USUAL_PLACES, ...toVenvs('tgi')],
    install: 'see https://huggingface.co/docs/text-generation-inference',
    toArgs: ({ model, context }) => [
      ['--model-id', model],
      ['--hostname', '127.0.0.1'],
      ['--port', PORT],
      ...toOption('--max-total-tokens', context),
    ],
    healthPath: '/health',
    // The launcher ends the router, then each shard, with a time limit of its own.
    service: { readyTimeoutMs: 600_000, stopGraceMs: 60_000 },
    compat: { supportsStrictMode: false },
    toServedName: (model) => model,
  },
  ollama: {
    programs: ['ollama'],
    places: USUAL_PLACES,
    install: 'see https://ollama.com/download',
    toArgs: () => [['serve']],
    toEnv: ({ context }) => ({
      OLLAMA_HOST: `127.0.0.1:${PORT}`,
      ...(context === undefined ? {} : { OLLAMA_CONTEXT_LENGTH: String(context) }),
    }),
    healthPath: '/api/version',
    // Where one is often running already: that one is used. It loads its models itself.
    port: 11_434,
    service: { readyTimeoutMs: 60_000, stopGraceMs: 15_000 },
    // It unloads its models by itself, after OLLAMA_KEEP_ALIVE.
    toSleep: () => ({ options: { check: { path: '/api/ps', field: 'models', equals: [] } } }),
    // `/v1` takes no keep_alive, so that of the load stays. `/api/embed` loads every kind of model, `/api/generate` refuses
    // one for embeddings. Its list had a model from the beginning of its load on, until some 0.30.
    toDaemon: ({ model }) => ({
      options: {
        load: [{ path: '/api/embed', body: { model, input: [], keep_alive: -1 } }],
        unload: [{ path: '/api/generate', body: { model, keep_alive: 0 } }],
        loaded: { path: '/api/ps', field: 'models.*.name', equals: toListedName(model), atOnce: true },
        endsWithClient: true,
      },
      start: 'ollama serve',
    }),
    compat: {
      maxTokensField: 'max_tokens',
      supportsReasoningEffort: true,
      supportedReasoningEfforts: ['none', 'low', 'medium', 'high', 'max'],
      supportsKeepAlive: true,
    },
    toServedName: (model) => model,
    isModelOptional: true,
  },
  lmstudio: {
    programs: ['lms'],
    places: ['~/.lmstudio/bin', '~/.cache/lm-studio/bin', ...USUAL_PLACES],
    install: 'see https://lmstudio.ai/download',
    toArgs: () => [],
    healthPath: '/api/v1/models',
    port: 1234,
    service: { readyTimeoutMs: 300_000, stopGraceMs: 15_000 },
    // The instance that is loaded first has the name of its model. The load is answered when it is loaded.
    toDaemon: ({ model, context }) => ({
      options: {
        load: [
          {
            path: '/api/v1/models/load',
            body: { model, ...(context === undefined ? {} : { context_length: context }) },
          },
        ],
        unload: [{ path: '/api/v1/models/unload', body: { instance_id: model } }],
        loaded: {
          path: '/api/v1/models',
          field: 'models.*.loaded_instances.*.id',
          equals: model,
          atOnce: true,
        },
      },
      start: 'lms server start',
    }),
    isDaemon: true,
    compat: { maxTokensField: 'max_tokens' },
    toServedName: (model) => model,
  },
  'whisper.cpp': {
    programs: ['whisper-server'],
    places: [...USUAL_PLACES, '~/whisper.cpp/build/bin', '/opt/whisper.cpp/bin'],
    install: 'brew install whisper-cpp, or see https://github.com/ggml-org/whisper.cpp',
    toArgs: ({ model }) => [
      ['--model', model],
      ...HOST_AND_PORT,
      ['--inference-path', '/v1/audio/transcriptions'],
    ],
    synonyms: [['--model', '-m']],
    healthPath: '/health',
    service: { readyTimeoutMs: 60_000, stopGraceMs: 5_000 },
    compat: {},
  },
}

/** The name under which Ollama lists a model: without a tag it is the latest, and its own library is left out. */
function toListedName(model: string): string {
  const name = model.replace(/^(registry\.ollama\.ai\/)?(library\/)?/i, '')
  return /:[^/]*$/.test(name) ? name : `${name}:latest`
}

/** The engine of that name. */
export function findEngine(name: unknown): Engine | undefined {
  return typeof name === 'string' && Object.hasOwn(engines, name) ? engines[name] : undefined
}
