import type { GpuSample, Hardware, HardwareSample } from '../../../observe/hardware.ts'
import { SPAN_MS } from '../app.ts'
import { formatSize, formatSpan } from '../display-text.ts'
import { buildLinePath, LINE_HEIGHT, LINE_WIDTH, type Point } from '../line-path.ts'
import { Still } from '../still.ts'

/** A line is at least as long as this, so that it does not jump while it begins, in milliseconds. */
const MIN_SPAN_MS = 60_000

type Read = (sample: HardwareSample) => number | null | undefined

interface GaugeKind {
  readonly name: string
  readonly read: Read
  readonly format: (value: number) => string
  /** What a full line means; absent: the greatest value of the time that is shown. */
  readonly most?: number | null | undefined
  /** What is said after the value. */
  readonly more?: string
}

/** The load of the host and its GPUs until a moment. */
export function HostHardware({ hardware, atMs }: { readonly hardware: Hardware; readonly atMs: number }) {
  const { host, gpus, everyMs } = hardware
  const samples = hardware.samples.filter(
    (sample) => sample.atMs <= Math.max(atMs, sampledUntil(hardware, atMs)),
  )
  const last = samples.at(-1)
  if (last === undefined) return null
  const draw = (kinds: readonly GaugeKind[]) => (
    <dl class="gauges">
      {kinds.map((kind) => (
        <Gauge key={kind.name} {...describeGauge(kind, samples, everyMs)} />
      ))}
      {kinds[0]?.name === 'Processor' && last.threadPercents !== null && (
        <Threads percents={last.threadPercents.join()} />
      )}
    </dl>
  )
  return (
    <>
      <section class="card" aria-label="Hardware">
        <header>
          <h2>{host.cpu || 'Host'}</h2>
          <small class="hide-s">{describeHost(hardware)}</small>
        </header>
        {draw(listHostGauges(hardware, last))}
      </section>
      {gpus?.list.map(({ index, name, memoryMiB, powerLimitWatts }, place) => (
        <section key={index} class="card" aria-label={`GPU ${index}`}>
          <header>
            <h2>{`GPU ${index}: ${name}`}</h2>
            <small class="hide-s">{gpus.driver === null ? gpus.program : `driver ${gpus.driver}`}</small>
          </header>
          {draw(listGpuGauges((sample) => sample.gpus[place], memoryMiB, powerLimitWatts))}
        </section>
      ))}
    </>
  )
}

/** The clock of the page is an estimate: now, the newest sample counts even where it seems to lie ahead. */
function sampledUntil({ samples, everyMs }: Hardware, atMs: number): number {
  const last = samples.at(-1)?.atMs ?? atMs
  return last - atMs < everyMs ? last : atMs
}

function describeHost({ host }: Hardware): string {
  const { os, kernel, architecture, environment, threads, physicalCores, memoryMiB } = host
  return [
    ...(physicalCores === null ? [] : [`${physicalCores} cores`]),
    `${threads} threads`,
    formatMiB(memoryMiB),
    os === kernel ? `${os} ${architecture}` : `${os} (${kernel}, ${architecture})`,
    ...(environment === null ? [] : [environment]),
  ].join(' · ')
}

function listHostGauges(
  { host }: Hardware,
  { load, network, swapUsedMiB }: HardwareSample,
): readonly GaugeKind[] {
  const sum = (part: 'receivedPerSecond' | 'sentPerSecond') => (sample: HardwareSample) =>
    sample.network?.reduce((all, one) => all + one[part], 0)
  const perSecond = (bytes: number) => `${formatBytes(bytes)}/s`
  return [
    {
      name: 'Processor',
      read: ({ cpuPercent }) => cpuPercent,
      format: formatPercent,
      most: 100,
      ...(load === null ? {} : { more: `load ${load.map((one) => one.toFixed(1)).join(' ')}` }),
    },
    {
      name: 'Memory',
      read: ({ memoryUsedMiB }) => memoryUsedMiB,
      format: formatMiB,
      most: host.memoryMiB,
      more: `of ${formatMiB(host.memoryMiB)}`,
    },
    ...(swapUsedMiB !== null && host.swapMiB
      ? [
          {
            name: 'Swap',
            read: (sample: HardwareSample) => sample.swapUsedMiB,
            format: formatMiB,
            most: host.swapMiB,
            more: `of ${formatMiB(host.swapMiB)}`,
          },
        ]
      : []),
    ...(network === null
      ? []
      : [
          { name: 'Network in', read: sum('receivedPerSecond'), format: perSecond },
          { name: 'Network out', read: sum('sentPerSecond'), format: perSecond },
        ]),
  ]
}

function listGpuGauges(
  find: (sample: HardwareSample) => GpuSample | undefined,
  memoryMiB: number | null,
  powerLimitWatts: number | null,
): readonly GaugeKind[] {
  const degrees = (value: number) => `${Math.round(value)} °C`
  return [
    {
      name: 'GPU memory',
      read: (sample) => find(sample)?.memoryUsedMiB,
      format: formatMiB,
      most: memoryMiB,
      ...(memoryMiB === null ? {} : { more: `of ${formatMiB(memoryMiB)}` }),
    },
    {
      name: 'Utilisation',
      read: (sample) => find(sample)?.utilisationPercent,
      format: formatPercent,
      most: 100,
    },
    { name: 'Temperature', read: (sample) => find(sample)?.temperatureC, format: degrees, most: 100 },
    {
      name: 'Memory temperature',
      read: (sample) => find(sample)?.memoryTemperatureC,
      format: degrees,
      most: 110,
    },
    {
      name: 'Power',
      read: (sample) => find(sample)?.powerWatts,
      format: (value) => `${Math.round(value)} W`,
      most: powerLimitWatts,
      ...(powerLimitWatts === null ? {} : { more: `of ${Math.round(powerLimitWatts)} W` }),
    },
    { name: 'Fan', read: (sample) => find(sample)?.fanPercent, format: formatPercent, most: 100 },
  ]
}

/** A gauge as plain values: one that has not changed is not drawn again. */
interface GaugeProps {
  readonly name: string
  readonly value: string
  readonly more: string
  readonly path: string
  readonly label: string
}

function describeGauge(
  { name, read, format, most, more = '' }: GaugeKind,
  samples: readonly HardwareSample[],
  everyMs: number,
): GaugeProps {
  const toMs = samples.at(-1)?.atMs ?? 0
  const firstMs = samples[0]?.atMs ?? toMs
  const fromMs = Math.max(toMs - SPAN_MS, Math.min(firstMs, toMs - MIN_SPAN_MS))
  const points: readonly Point[] = samples.map((sample) => [sample.atMs, read(sample) ?? null])
  const known = points.flatMap(([atMs, value]) => (atMs < fromMs || value === null ? [] : value))
  const greatest = Math.max(0, ...known)
  const now = points.at(-1)?.[1] ?? null
  return {
    name,
    value: now === null ? '' : format(now),
    more,
    path: buildLinePath(points, { fromMs, toMs, most: most ?? (greatest || 1), gapMs: 3 * everyMs }),
    label:
      known.length === 0
        ? ''
        : `${name} of the last ${formatSpan(Math.max(1_000, toMs - Math.max(fromMs, firstMs)))}: at most ${format(greatest)}`,
  }
}

/** One number, and its line over the last minutes. What was never told is not shown. */
class Gauge extends Still<GaugeProps> {
  override render({ name, value, more, path, label }: GaugeProps) {
    if (label === '') return null
    return (
      <div>
        <dt>{name}</dt>
        <dd>
          <b>{value || '–'}</b> <span class="soft">{more}</span>
        </dd>
        <dd>
          <svg
            viewBox={`0 0 ${LINE_WIDTH} ${LINE_HEIGHT}`}
            preserveAspectRatio="none"
            role="img"
            aria-label={label}
          >
            <path
              d={path}
              fill="none"
              stroke="currentColor"
              stroke-width="1.5"
              vector-effect="non-scaling-stroke"
            />
          </svg>
        </dd>
      </div>
    )
  }
}

/** How busy each thread of the processor is now. */
class Threads extends Still<{ readonly percents: string }> {
  override render({ percents }: { readonly percents: string }) {
    const all = percents.split(',').map(Number)
    const path = all
      .map((percent, index) => {
        const height = Math.max(1, (percent / 100) * LINE_HEIGHT)
        return `M${index * 4} ${LINE_HEIGHT}v${-height.toFixed(1)}h3v${height.toFixed(1)}z`
      })
      .join('')
    const busy = all.filter((percent) => percent >= 50).length
    return (
      <div>
        <dt>Threads</dt>
        <dd>
          <b>{busy}</b> <span class="soft">{`of ${all.length} are busy`}</span>
        </dd>
        <dd>
          <svg
            viewBox={`0 0 ${Math.max(16, all.length) * 4} ${LINE_HEIGHT}`}
            preserveAspectRatio="none"
            role="img"
            aria-label={`Load of each thread: ${all.map((percent) => `${percent} %`).join(', ')}`}
          >
            <path d={path} fill="currentColor" />
          </svg>
        </dd>
      </div>
    )
  }
}

function formatPercent(value: number): string {
  return `${Math.round(value)} %`
}

function formatMiB(mebibytes: number): string {
  return formatSize(mebibytes * 1_048_576)
}

function formatBytes(bytes: number): string {
  if (bytes < 1_000) return `${Math.round(bytes)} B`
  return bytes < 1_000_000 ? `${(bytes / 1_000).toFixed(0)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`
}
