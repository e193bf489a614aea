// Bundles the entry points and the programs of the package, each in the place of what tsc wrote: to load a hundred small
// files and four whole libraries costs more time than a short command takes. The types, and every other module for the
// tests, stay as tsc wrote them; package.json says what is published.
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = fileURLToPath(new URL('../../', import.meta.url))
const { exports: entryPoints, bin } = JSON.parse(await readFile(`${root}package.json`, 'utf8'))

/** Programs that are started by path and are not named in package.json. */
const PROGRAMS = ['./dist/src/testing/demo-server.js']
/** Not bundled: a host shares its statecharts with the first and its logger with the second. */
const EXTERNAL = /^(?:node:|xstate$|pino$)/
/** What is used of undici. Its index loads fetch, web sockets and caches, too. */
const UNDICI = {
  buildConnector: 'core/connect.js',
  Client: 'dispatcher/client.js',
  Pool: 'dispatcher/pool.js',
}

async function bundle() {
  await rm(`${root}dist/chunks`, { recursive: true, force: true })
  const build = await rolldown({
    input: listEntries(),
    platform: 'node',
    external: EXTERNAL,
    tsconfig: false,
    // On Node rxjs resolves to CommonJS, which cannot be shaken.
    resolve: { alias: { rxjs: `${root}node_modules/rxjs/dist/esm/index.js` } },
    treeshake: { moduleSideEffects: [{ test: /node_modules\/(?:zod|rxjs)\//, sideEffects: false }] },
    plugins: [keepPlaces, keepProgram, keepDocuments, pickUndici, writeAscii],
    // `keepPlaces` moves columns at most.
    checks: { sourcemapBroken: false },
  })
  return build.write({
    dir: `${root}dist`,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
    comments: { legal: true, annotation: false, jsdoc: false },
    sourcemap: true,
  })
}

/** The source of each file that is loaded by its path, by its name below `dist`. */
function listEntries() {
  const files = [
    ...Object.values(entryPoints).map((entry) => entry.default),
    ...Object.values(bin).map((file) => `./${file}`),
    ...PROGRAMS,
  ].filter((file) => file?.endsWith('.js'))
  const names = files.map((file) => file.slice('./dist/'.length, -'.js'.length))
  return Object.fromEntries(names.map((name) => [name, `${root}${name}.ts`]))
}

/** A module that finds files beside itself finds them beside the place that it has in `dist`, not beside its chunk. */
const keepPlaces = {
  name: 'keep-places',
  transform: {
    filter: { id: /\.ts$/, code: 'import.meta.url' },
    handler: (code, id) =>
      code.replaceAll(
        'import.meta.url',
        `__placeOf(${JSON.stringify(relative(root, id).replace(/\.ts$/, '.js'))})`,
      ),
  },
  renderChunk: (code, { fileName }) =>
    code.includes('__placeOf(')
      ? code.replace(/__placeOf\("([^"]+)"\)/g, (_, place) => {
          if (place === fileName) return 'import.meta.url'
          const path = '../'.repeat(fileName.split('/').length - 1) + place
          return `new URL(${JSON.stringify(path)}, import.meta.url).href`
        })
      : null,
}

/**
 * Some programs are handed on as the text of a function. A bundler of the host would rename what that function calls, or
 * call a helper of its own in it: the text is fixed here.
 */
const TEXTS = {
  'src/process/watchdog-program': 'watchSupervisor',
  'src/process/requests-program': 'requestsProgram',
}
const keepProgram = {
  name: 'keep-program',
  load: async (id) => {
    const [program, name] = Object.entries(TEXTS).find(([program]) => id === `${root}${program}.ts`) ?? []
    if (program === undefined) return null
    const { [name]: text } = await import(`${root}dist/${program}.js`)
    return `export const ${name} = ${JSON.stringify(String(text))}`
  },
}

/** The page as text in a module of its own, which is loaded when the page is asked for. */
const keepDocuments = {
  name: 'keep-documents',
  load: async (id) => {
    if (id !== `${root}src/inspector/documents.ts`) return null
    const folder = `${root}dist/src/inspector/page/built/`
    const entries = (await readdir(folder)).map(async (name) => [name, await readFile(folder + name, 'utf8')])
    const documents = JSON.stringify(Object.fromEntries(await Promise.all(entries)))
    return `const documents = ${documents}\nexport const readDocument = (name) => documents[name]`
  },
}

/** A single character beyond Latin-1 doubles what a source occupies in memory. */
const writeAscii = {
  name: 'write-ascii',
  renderChunk: (code) =>
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the range begins there
    code.replace(/(\\*)([^\x00-\x7f])/g, (_, slashes, unit) => {
      // The backslash would take the escape for its own.
      if (slashes.length % 2 === 1)
        throw new Error(`a character with an escape of its own: ${slashes}${unit}`)
      return `${slashes}\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
    }),
}

const pickUndici = {
  name: 'pick-undici',
  resolveId: (id) => (id === 'undici' ? '\0undici' : null),
  load: (id) => {
    if (id !== '\0undici') return null
    const from = (file) => JSON.stringify(`${root}node_modules/undici/lib/${file}`)
    return [
      ...Object.entries(UNDICI).map(([name, file]) => `export { default as ${name} } from ${from(file)}`),
      // As the index does it: `request` and its like come to every dispatcher from there.
      `import Dispatcher from ${from('dispatcher/dispatcher.js')}`,
      `import api from ${from('api/index.js')}`,
      'Object.assign(Dispatcher.prototype, api)',
    ].join('\n')
  },
}

/** The licence of each package of which something is in the bundle. */
async function collectLicenses(chunks) {
  const modules = chunks.flatMap(({ modules = {} }) => Object.keys(modules))
  const packages = new Set(
    modules.flatMap((id) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id)?.[0] ?? []),
  )
  const texts = await Promise.all(
    [...packages].sort().map(async (folder) => {
      const { name, version, license } = JSON.parse(await readFile(`${folder}/package.json`, 'utf8'))
      const file = (await readdir(folder)).find((file) => /^licen[cs]e/i.test(file))
      const text = file === undefined ? '' : await readFile(`${folder}/${file}`, 'utf8')
      return `${name} ${version} (${license})\n\n${text.trim()}\n`
    }),
  )
  return texts.join(`\n${'-'.repeat(80)}\n\n`)
}

const { output } = await bundle()
await writeFile(`${root}dist/THIRD-PARTY-LICENSES.txt`, await collectLicenses(output))
