import { SPAN_MS } from '../app.ts'
import { formatSize } from '../display-text.ts'
import type { ViewProps } from '../frame/view-frame.tsx'
import type { ServiceView } from '../model.ts'
import type { Look } from '../rates.ts'
import { Spark } from '../shapes.tsx'

/** The lines have so many steps. */
const STEPS = 90

type Part = 'bytes' | 'gpuBytes'

const parts: readonly (readonly [Part, string])[] = [
  ['gpuBytes', 'GPU memory'],
  ['bytes', 'Memory'],
]

/** What its process occupied in the last minutes, as far as this page has seen it. */
export function MemoryChart({ app, atMs, service }: ViewProps & { readonly service: ServiceView }) {
  const { looks } = app.pace()
  const lines = parts.flatMap(([part, name]) => {
    const values = listMemory(looks, service.key, part, atMs)
    const most = Math.max(...values)
    return most > 0 ? [{ name, values, most, now: values.at(-1) ?? 0 }] : []
  })
  if (lines.length === 0) return null
  return (
    <section class="card" aria-label="Memory over time">
      <header>
        <h2>Memory</h2>
        <small>last 15 min</small>
      </header>
      <dl class="memory">
        {lines.map(({ name, values, most, now }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              {formatSize(now)} <span class="soft">{`at most ${formatSize(most)}`}</span>
            </dd>
            <dd class="line">
              <Spark values={values} width={300} height={48} />
            </dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

/** What was known at each step of the last 15 minutes until a time; zero: it did not run, or was not looked at. */
export function listMemory(
  looks: readonly Pick<Look, 'atMs' | 'memory'>[],
  key: string,
  part: Part,
  atMs: number,
): readonly number[] {
  const values = new Array<number>(STEPS).fill(0)
  const stepMs = SPAN_MS / STEPS
  let next = 0
  let known = 0
  for (let step = 0; step < STEPS; step += 1) {
    const untilMs = atMs - SPAN_MS + (step + 1) * stepMs
    for (let look = looks[next]; look !== undefined && look.atMs <= untilMs; look = looks[next]) {
      known = look.memory[key]?.[part] ?? 0
      next += 1
    }
    values[step] = known
  }
  return values
}
