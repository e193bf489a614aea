// Who imports whom: `node src/build/imports.mjs [FOLDER]` prints every import that breaks a rule, and fails when there is one.
// It also prints every base name that two files have: one name means one thing.
// dependency-cruiser 17 does not read TypeScript 7, and 18 does not run on Node 20.
import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The rooms from the bottom to the top. A room imports from lower rows; those joined by `+` also from each other. */
const ROWS = [
  'machines',
  'clock collections text net',
  'errors',
  'events json',
  'compat config explanation process statechart transport',
  'health',
  'lease+observe+peers+request+service',
  'cluster',
  'supervisor',
  'index',
  'doctor inspector testing',
  'gateway',
  'cli',
].map((row) => row.split(' ').map((group) => group.split('+')))

/** Types that a room imports although their room is not below it. */
const PUBLIC_TYPES = [
  { from: 'config', to: 'src/compat/flags.ts' },
  { from: 'observe', to: 'src/supervisor/interface.ts' },
]

/** Rooms and files that only some rooms import. */
const ONLY_FOR = [
  { to: /^src\/testing\//, rooms: ['cli'], why: 'only src/cli uses src/testing' },
  { to: /^src\/index\.ts$/, rooms: [], why: 'src/index.ts is for embedders' },
  {
    to: /^src\/statechart\/xstate-internals\.ts$/,
    rooms: ['statechart'],
    why: 'xstate internals stay in src/statechart',
  },
]

/** The rooms that import a library. One that is not listed is for every room of src/. */
const LIBRARIES = {
  '@clack': 'cli',
  '@nats-io': 'cluster',
  commander: 'cli',
  'eventsource-parser': 'compat',
  json5: 'config cli testing',
  'node:child_process': 'process testing',
  'node:http': 'gateway testing',
  preact: 'inspector',
  'prom-client': 'observe',
  shlex: 'cli',
  undici: 'transport',
  yaml: 'cli',
  zod: 'config testing',
}

/** Base names that two files may have: a face, the messages of a room, and a chart with the file that gives it its effects. */
const SHARED_NAMES = ['index', 'messages', 'borrowing', 'run', 'supervisor', 'watchdog']

const FACES = /^(machines|src|src\/gateway|src\/testing)\/index\.ts$/
const PRIVATE_XSTATE =
  /\._(?:parent|scheduledEvents|[a-z]*[sS]napshot|send|start|stop|clock|relay|nextId)\b|from 'xstate\/dist/
const IMPORT = /^(import|export)\b([^'"`;]*?)\bfrom '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm

const root = resolve(process.argv[2] ?? fileURLToPath(new URL('../..', import.meta.url)))
const files = ['machines', 'src'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.tsx?$/.test(file))
    .map((file) => join(folder, file)),
)
const imports = new Map(files.map((file) => [file, listImports(file)]))
const problems = files
  .flatMap((file) => [...findForbidden(file), ...findTextual(file)])
  .concat(findCycles(), findTwins())
if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exitCode = 1
}

function listImports(file) {
  return [...readFileSync(join(root, file), 'utf8').matchAll(IMPORT)].map(
    ([, , names = '', from, bare, lazy]) => {
      const name = from ?? bare ?? lazy
      const to = name.startsWith('.') ? normalize(join(dirname(file), name)) : null
      return { name, to, isType: /^\s*type\b/.test(names) }
    },
  )
}

function findForbidden(file) {
  const room = roomOf(file)
  return imports.get(file).flatMap(({ name, to, isType }) => {
    const why = to === null ? whyNotLibrary(room, name) : whyNotFile(room, to, isType)
    return why === null ? [] : [`${file}: ${to ?? name}: ${why}`]
  })
}

function whyNotLibrary(room, name) {
  const library = name.split('/')[0]
  if (room === 'machines') return name === 'xstate' ? null : 'machines import xstate alone'
  const rooms = LIBRARIES[library]?.split(' ')
  return rooms === undefined || rooms.includes(room)
    ? null
    : `only ${rooms.map((one) => `src/${one}`).join(', ')} uses it`
}

function whyNotFile(room, to, isType) {
  const target = roomOf(to)
  if (target === room) return null
  const only = ONLY_FOR.find((rule) => rule.to.test(to))
  if (only !== undefined && !only.rooms.includes(room)) return only.why
  if (isType && PUBLIC_TYPES.some((rule) => rule.from === room && rule.to === to)) return null
  const [from, below] = [room, target].map((one) => ROWS.findIndex((row) => row.flat().includes(one)))
  if (from === -1 || below === -1) return `${from === -1 ? room : target} has no row in src/build/imports.mjs`
  const isJoined = ROWS[from].some((group) => group.includes(room) && group.includes(target))
  return below < from || isJoined ? null : `${room} may not import ${target}`
}

function findTextual(file) {
  const text = readFileSync(join(root, file), 'utf8')
  const found = []
  if (FACES.test(file) && text.replace(/^export\b[^;]*? from '[^']+'$|\/\*[\s\S]*?\*\//gm, '').trim() !== '')
    found.push(`${file}: a public face only re-exports`)
  if (roomOf(file) !== 'statechart' && PRIVATE_XSTATE.test(text))
    found.push(`${file}: ${PRIVATE_XSTATE.exec(text)[0]}: xstate internals stay in src/statechart`)
  return found
}

/** Cycles of imports that exist at run time; a cycle of types alone does no harm. */
function findCycles() {
  const done = new Set()
  const cycles = []
  const visit = (file, path) => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' → '))
    if (path.includes(file) || done.has(file)) return
    for (const { to, isType } of imports.get(file) ?? [])
      if (to !== null && !isType) visit(to, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  return cycles.map((cycle) => `cycle: ${cycle}`)
}

function findTwins() {
  const byName = new Map()
  for (const file of files) {
    const name = basename(file).replace(/\.tsx?$/, '')
    byName.set(name, [...(byName.get(name) ?? []), file])
  }
  return [...byName]
    .filter(([name, twins]) => twins.length > 1 && !SHARED_NAMES.includes(name))
    .map(([name, twins]) => `${twins.join(' and ')}: two files are called ${name}`)
}

function roomOf(file) {
  const [top, room = ''] = file.split('/')
  return top === 'machines' ? 'machines' : room.replace(/\.ts$/, '')
}
