// Makes the live page one document without a single reference to anywhere else: its charts laid out from the machines,
// its script bundled, its looks inside. Runs after tsc, whose output knows the machines.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { transform } from 'esbuild'
import { rolldown } from 'rolldown'

/** The page opens within a second over a line of 50 kB/s. The other views come once it is there, then the tools. */
const MAX_BYTES = {
  'page.html': { gzip: 41_700, brotli: 36_900 },
  'views.js': { gzip: 33_500, brotli: 30_000 },
  'tool-views.js': { gzip: 15_000, brotli: 13_600 },
}
/** In the order in which they apply. */
const LOOKS = ['tokens', 'controls', 'frame', 'overview', 'narrow']
const VIEWS_LOOKS = ['members', 'service', 'requests', 'timeline', 'narrow-views']
const TOOLS_LOOKS = ['try', 'machines', 'host']

const here = new URL('./', import.meta.url)
const { version } = JSON.parse(await readFile(new URL('../../../package.json', here), 'utf8'))
const dist = new URL('../../../dist/', here)
const [{ layOutChart }, { buildDiagram }, machines] = await Promise.all([
  import(new URL('src/inspector/chart-layout.js', dist)),
  import(new URL('src/inspector/diagram.js', dist)),
  import(new URL('machines/index.js', dist)),
])
const charts = { provider: layOutChart(buildDiagram(machines.providerMachine)) }

/**
 * A chart without the names of its fields, with the number of a state for its path, and without what follows from the
 * rest: a quarter of the size.
 */
function packChart({ id, width, height, boxes, arrows }) {
  const numberOf = (path) => boxes.findIndex((box) => box.path === path)
  return [
    [id, width, height],
    boxes.map(({ path, name, isFinal, x, y, width, height }) => {
      const parent = numberOf(path.slice(0, -name.length - 1))
      const { x: left, y: top } = boxes[parent] ?? { x: 0, y: 0 }
      return [name, parent, x - left, y - top, width, height, ...(isFinal ? [1] : [])]
    }),
    arrows.map(({ from, to, transitions, points, at, anchor, isMain }) => {
      const isAcross = points[0][1] === points[1][1]
      const middle = findMiddle(points)
      return [
        numberOf(from),
        numberOf(to),
        transitions.map((one) => [
          one.event,
          numberOf(one.from),
          numberOf(one.to),
          ...(one.guard ? [one.guard] : []),
        ]),
        // Its parts go across and down by turns.
        [...points[0], ...points.slice(1).map(([x, y], index) => (index % 2 === +isAcross ? y : x))],
        +isAcross,
        [at[0] - middle[0], at[1] - middle[1]],
        anchor[0],
        +isMain,
      ]
    }),
  ]
}

/** The middle of the middle part of a line. Its text runs in the page. */
function findMiddle(points) {
  const [[ax, ay], [bx, by]] = points.slice(points.length / 2 - 1)
  return [(ax + bx) / 2, (ay + by) / 2]
}

/** The chart as it was. Its text runs in the page. */
function unpackChart([[id, width, height], packed, arrows], findMiddle) {
  const boxes = []
  for (const [name, parent, left, top, width, height, isFinal = 0] of packed) {
    const { path, x, y } = boxes[parent] ?? { x: 0, y: 0 }
    boxes.push({
      path: path ? `${path}.${name}` : name,
      name,
      isFinal: isFinal > 0,
      isOpen: packed.some((other) => other[1] === boxes.length),
      x: x + left,
      y: y + top,
      width,
      height,
    })
  }
  const pathOf = (number) => boxes[number].path
  return {
    id,
    width,
    height,
    boxes,
    arrows: arrows.map(([from, to, transitions, [x, y, ...turns], isAcross, at, anchor, isMain]) => {
      const points = [[x, y]]
      for (const [index, to] of turns.entries()) {
        const [across, down] = points[index]
        points.push(index % 2 === isAcross ? [across, to] : [to, down])
      }
      const middle = findMiddle(points)
      return {
        from: pathOf(from),
        to: pathOf(to),
        transitions: transitions.map(([event, from, to, guard]) => ({
          event,
          from: pathOf(from),
          to: pathOf(to),
          ...(guard ? { guard } : {}),
        })),
        points,
        at: [middle[0] + at[0], middle[1] + at[1]],
        anchor: { s: 'start', m: 'middle', e: 'end' }[anchor],
        isMain: isMain > 0,
      }
    }),
  }
}

for (const chart of Object.values(charts))
  if (JSON.stringify(unpackChart(packChart(chart), findMiddle)) !== JSON.stringify(chart))
    throw new Error(`The chart ${chart.id} is not what was packed.`)

const CHARTS = 'leasehold:charts'
const bundle = await rolldown({
  input: fileURLToPath(new URL('entry.tsx', here)),
  platform: 'browser',
  tsconfig: false,
  // Without a `children` in the properties of each element: 0.7 kB less than the automatic form.
  transform: {
    jsx: { runtime: 'classic', pragma: 'h', pragmaFrag: 'Fragment' },
    inject: { h: ['preact', 'h'], Fragment: ['preact', 'Fragment'] },
  },
  plugins: [
    {
      name: 'charts',
      resolveId: (id) => (id === CHARTS ? CHARTS : null),
      load: (id) =>
        id === CHARTS
          ? `const unpack = ${unpackChart}\nexport const charts = { provider: unpack(${JSON.stringify(packChart(charts.provider))}, ${findMiddle}) }`
          : null,
    },
  ],
})
const { output } = await bundle.generate({ format: 'es', minify: true, chunkFileNames: '[name].js' })
const chunks = new Map(
  output.map(({ name, code }) => [
    name,
    code.replaceAll(/(\w?)\/\* @__PURE__ \*\/ /g, (_, before) => (before === '' ? '' : `${before} `)).trim(),
  ]),
)

/** What the chunks take from each other, by name, instead of modules: the policy allows no address. */
const SHARED = 'globalThis.leasehold'
const LOAD = `async n=>{let r=await fetch(\`page/\${n}.js\`),s=document.createElement("script");if(!r.ok)throw Error(r.status);s.textContent=await r.text();document.head.append(s);return ${SHARED}[n]}`
const toFields = (names, join) =>
  names
    .split(',')
    .map((one) => one.split(' as '))
    .map(([name, as = name]) => join(name.trim(), as.trim()))
    .join()
/** A chunk as a part of a plain script. */
const toPart = (name) => {
  let code = chunks
    .get(name)
    .replaceAll(/\bimport\([`"]\.\/([\w-]+)\.js[`"]\)/g, (_, wanted) => `__load("${wanted}")`)
    .replace(/export\{([^}]*)\};?$/, (_, names) => `return{${toFields(names, (one, as) => `${as}:${one}`)}}`)
  const IMPORT = /^import(?:\{([^}]*)\}from)?[`"]\.\/([\w-]+)\.js[`"];/
  let taken = ''
  for (let found = IMPORT.exec(code); found !== null; found = IMPORT.exec(code)) {
    const [text, names, from] = found
    if (names !== undefined)
      taken += `const{${toFields(names, (one, as) => `${one}:${as}`)}}=${SHARED}["${from}"];`
    code = code.slice(text.length)
  }
  if (/^import\b|\bimport\(|\bexport\{/.test(code)) throw new Error(`The chunk ${name} has another form.`)
  return `${SHARED}["${name}"]=(()=>{${taken}${code}})();`
}
/** What the later parts have in common comes with the first of them. */
const common = [...chunks.keys()].filter((name) => !['entry', 'views', 'tool-views'].includes(name))
const looks = async (names) => {
  const texts = await Promise.all(names.map((name) => readFile(new URL(`looks/${name}.css`, here), 'utf8')))
  return (await transform(texts.join('\n'), { loader: 'css', minify: true, target: 'chrome125' })).code.trim()
}
const toLaterPart = async (names, looksOf) => {
  const style = JSON.stringify(await looks(looksOf))
  return `{let s=new CSSStyleSheet;s.replaceSync(${style});document.adoptedStyleSheets.push(s);${names.map(toPart).join('')}}`
}
const script = `{const __load=${LOAD};${SHARED}={};${toPart('entry')}}`.replaceAll('</script', '<\\/script')
const firstStyle = await looks(LOOKS)
const files = {
  'page.html': (await readFile(new URL('page.html', here), 'utf8'))
    .replace('data-version=""', `data-version="${version}"`)
    .replace('/* style */', () => firstStyle)
    .replace('/* script */', () => script),
  'views.js': await toLaterPart([...common, 'views'], VIEWS_LOOKS),
  'tool-views.js': await toLaterPart(['tool-views'], TOOLS_LOOKS),
}
for (const [name, most] of Object.entries(MAX_BYTES)) {
  const text = files[name]
  const sizes = { gzip: gzipSync(text, { level: 9 }).length, brotli: brotliCompressSync(text).length }
  if (process.env.LEASEHOLD_PAGE_SIZES) console.info(name, sizes)
  for (const [coding, bytes] of Object.entries(most))
    if (sizes[coding] > bytes)
      throw new Error(`${name} has ${sizes[coding]} bytes with ${coding}: more than ${bytes}.`)
}
const target = new URL('src/inspector/page/built/', dist)
await mkdir(target, { recursive: true })
for (const [name, text] of Object.entries(files)) await writeFile(new URL(name, target), text)
await writeFile(new URL('stately.html', target), await readFile(new URL('stately.html', here)))
