import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** Every file that a program loads: a bundled one by the names of its sources. The exit code of the program does not matter. */
export async function listLoadedSources(args: readonly string[]): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-loaded-'))
  try {
    // A coverage report names every script that was loaded.
    const env = { ...process.env, NODE_V8_COVERAGE: directory }
    await promisify(execFile)(process.execPath, args, { env, timeout: 30_000 }).catch(() => {})
    const [report = ''] = await readdir(directory)
    const { result } = JSON.parse(await readFile(join(directory, report), 'utf8'))
    const urls: string[] = result.map(({ url }: { readonly url: string }) => url)
    const files = urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url))
    const sources = await Promise.all(
      files.map(async (path) => {
        const map: { readonly sources: readonly string[] } | undefined = await readFile(`${path}.map`, 'utf8')
          .then(JSON.parse)
          .catch(() => undefined)
        return map === undefined ? [path] : map.sources.map((source) => join(path, '..', source))
      }),
    )
    return sources.flat()
  } finally {
    await rm(directory, { recursive: true })
  }
}

/** The packages among files, each once, by name. */
export function listPackages(files: readonly string[]): string[] {
  const names = files.flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [])
  return [...new Set(names)].sort()
}
