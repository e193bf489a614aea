import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Environment } from '../../config/secrets.ts'

/** A folder that a program keeps models in. `ollama`: its files have no names, manifests do. */
export interface ModelPlace {
  readonly program: string
  readonly folder: string
  readonly kind: 'files' | 'ollama'
}

/** Where programs and people of this host keep GGUF files, by what those programs document. */
export function listModelPlaces(
  env: Environment,
  platform: NodeJS.Platform = process.platform,
): readonly ModelPlace[] {
  const home = env.HOME || homedir()
  const cache = env.XDG_CACHE_HOME || join(home, '.cache')
  const data = env.XDG_DATA_HOME || join(home, '.local', 'share')
  const isMac = platform === 'darwin'
  const library = join(home, 'Library')
  const hub = env.HF_HUB_CACHE || join(env.HF_HOME || join(cache, 'huggingface'), 'hub')
  const files = (program: string, folder: string): ModelPlace => ({ program, folder, kind: 'files' })
  const ollama = (folder: string): ModelPlace => ({ program: 'Ollama', folder, kind: 'ollama' })
  return [
    files(
      'llama.cpp',
      env.LLAMA_CACHE || (isMac ? join(library, 'Caches', 'llama.cpp') : join(cache, 'llama.cpp')),
    ),
    files('Hugging Face', hub),
    files('LM Studio', join(home, '.lmstudio', 'models')),
    files('LM Studio', join(cache, 'lm-studio', 'models')),
    ...(env.OLLAMA_MODELS ? [ollama(env.OLLAMA_MODELS)] : []),
    ollama(join(home, '.ollama', 'models')),
    // Where its system service keeps them.
    ollama('/usr/share/ollama/.ollama/models'),
    files(
      'Jan',
      isMac
        ? join(library, 'Application Support', 'Jan', 'data', 'llamacpp', 'models')
        : join(data, 'Jan', 'data', 'llamacpp', 'models'),
    ),
    files('ramalama', join(data, 'ramalama')),
    files('this user', join(home, 'models')),
  ]
}
