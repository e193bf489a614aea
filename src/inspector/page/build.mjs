// Makes the live page one document without a single reference to anywhere else: its charts laid out from the machines,
// its script bundled, its looks inside. Runs after tsc, whose output knows the machines.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { transform } from 'esbuild'
import { rolldown } from 'rolldown'

/** The page arrives within a second over a line of 50 kB/s. */
const MAX_GZIP_BYTES = 70_000
/** In the order in which they apply. */
const LOOKS = [
  'tokens',
  'controls',
  'frame',
  'overview',
  'service',
  'requests',
  'timeline',
  'try',
  'machines',
  'narrow',
]

const here = new URL('./', import.meta.url)
const dist = new URL('../../../dist/', here)
const [{ layOutChart }, { buildDiagram }, machines] = await Promise.all([
  import(new URL('src/inspector/chart-layout.js', dist)),
  import(new URL('src/inspector/diagram.js', dist)),
  import(new URL('machines/index.js', dist)),
])
const charts = { provider: layOutChart(buildDiagram(machines.providerMachine)) }

const CHARTS = 'leasehold:charts'
const bundle = await rolldown({
  input: fileURLToPath(new URL('entry.tsx', here)),
  platform: 'browser',
  tsconfig: false,
  transform: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  plugins: [
    {
      name: 'charts',
      resolveId: (id) => (id === CHARTS ? CHARTS : null),
      load: (id) => (id === CHARTS ? `export const charts = ${JSON.stringify(charts)}` : null),
    },
  ],
})
const { output } = await bundle.generate({ format: 'iife', minify: true })
const script = output[0].code.replaceAll('</script', '<\\/script')
const looks = await Promise.all(LOOKS.map((name) => readFile(new URL(`looks/${name}.css`, here), 'utf8')))
const { code: style } = await transform(looks.join('\n'), {
  loader: 'css',
  minify: true,
  target: 'chrome125',
})
const html = (await readFile(new URL('page.html', here), 'utf8'))
  .replace('/* style */', () => style.trim())
  .replace('/* script */', () => script)
const size = gzipSync(html, { level: 9 }).length
if (size > MAX_GZIP_BYTES)
  throw new Error(`The page has ${size} bytes with gzip: more than ${MAX_GZIP_BYTES}.`)
const target = new URL('src/inspector/page/built/', dist)
await mkdir(target, { recursive: true })
await writeFile(new URL('page.html', target), html)
await writeFile(new URL('stately.html', target), await readFile(new URL('stately.html', here)))
