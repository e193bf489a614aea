import type { Diagram, DiagramState } from './diagram.ts'

/** Where one state is drawn, in units of the picture. */
export interface ChartBox {
  readonly path: string
  readonly name: string
  readonly isFinal: boolean
  /** Whether it has states of its own, drawn inside it. */
  readonly isOpen: boolean
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** One transition that an arrow stands for. */
export interface ChartTransition {
  readonly event: string
  readonly from: string
  readonly to: string
  readonly guard?: string
}

/** An arrow between two states of the same parent: every transition that goes that way, wherever inside them. */
export interface ChartArrow {
  readonly from: string
  readonly to: string
  readonly transitions: readonly ChartTransition[]
  /** Corners of its line. The last two give the direction of its head. */
  readonly points: readonly (readonly [number, number])[]
  /** Where its label is anchored, and by which of its ends. */
  readonly at: readonly [number, number]
  readonly anchor: 'start' | 'middle' | 'end'
  /** Whether it goes from one state to the next of the life: such an arrow always shows its label. */
  readonly isMain: boolean
}

/** A statechart as a picture. */
export interface Chart {
  readonly id: string
  readonly width: number
  readonly height: number
  readonly boxes: readonly ChartBox[]
  readonly arrows: readonly ChartArrow[]
}

const MARGIN = 14
const GUTTER = 116
const LANE = 9
/** Width of a letter of a label. */
const LETTER = 6.4
const PAD = 12
const HEAD = 30
const LEAF = { height: 28, gap: 16, letter: 7 } as const

interface Rect {
  x: number
  y: number
  width: number
  height: number
}

/**
 * Lays a statechart out: the states of the first level as a loop in the order in which the chart names them, left to
 * right and back below, the inner ones stacked inside; arrows that skip a neighbour run in lanes of their own.
 */
export function layOutChart({ id, states }: Diagram): Chart {
  const inner = states.filter(({ path }) => path !== '')
  const top = inner.filter(({ path }) => parentOf(path) === '')
  const sizes = new Map(top.map((state) => [state.path, sizeOf(state, inner)]))
  const columns = Math.max(1, Math.ceil((top.length + 1) / 2))
  const cellOf = (index: number) =>
    index < columns ? { row: 0, column: index } : { row: 1, column: 2 * columns - 1 - index }
  const cells = new Map(top.map(({ path }, index) => [path, cellOf(index)]))

  const finals = new Set(top.filter(({ kind }) => kind === 'final').map(({ path }) => path))
  const arrows = buildArrows(inner)
  const outer = arrows.filter(({ from }) => parentOf(from) === '')
  const routes = outer.map((arrow) => findRoute(arrow, cells))
  const lanesIn = (channel: number) => routes.filter((route) => route === channel).length
  const channelHeight = [0, 1, 2].map((channel) =>
    Math.max(channel === 1 ? 84 : 14, lanesIn(channel) * LANE + 26),
  )

  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(
      0,
      ...top
        .filter(({ path }) => cells.get(path)?.column === column)
        .map(({ path }) => sizes.get(path)?.width ?? 0),
    ),
  )
  const heights = [0, 1].map((row) =>
    Math.max(
      0,
      ...top
        .filter(({ path }) => cells.get(path)?.row === row)
        .map(({ path }) => sizes.get(path)?.height ?? 0),
    ),
  )
  const [above = 0, between = 0, below = 0] = channelHeight
  const [first = 0, second = 0] = heights
  const rowTops = [MARGIN + above, MARGIN + above + first + between]
  const rects = new Map<string, Rect>()
  for (const { path } of top) {
    const cell = cells.get(path) ?? { row: 0, column: 0 }
    const size = sizes.get(path) ?? { width: 0, height: 0 }
    const left = MARGIN + widths.slice(0, cell.column).reduce((sum, width) => sum + width + GUTTER, 0)
    const room = { width: widths[cell.column] ?? 0, height: heights[cell.row] ?? 0 }
    rects.set(path, {
      x: left + (room.width - size.width) / 2,
      // Towards the channel between the rows, where most of the arrows are.
      y: (rowTops[cell.row] ?? 0) + (cell.row === 0 ? room.height - size.height : 0),
      ...size,
    })
  }
  for (const state of top) placeInside(state, inner, rects)

  const channelTops = [MARGIN, MARGIN + above + first, MARGIN + above + first + between + second]
  const drawnOuter = drawOuter(outer, routes, rects, cells, channelTops, channelHeight, finals)
  const drawnInner = arrows
    .filter(({ from }) => parentOf(from) !== '')
    .map((arrow, index) => drawInner(arrow, rects, index))
  const boxesEnd = 2 * MARGIN + widths.reduce((sum, width) => sum + width, 0) + GUTTER * (columns - 1)
  const labelsEnd = drawnOuter.map(({ at, anchor, transitions }) =>
    anchor === 'start' ? at[0] + Math.max(...transitions.map(({ event }) => event.length)) * LETTER : 0,
  )
  return {
    id,
    width: Math.ceil(Math.max(boxesEnd, ...labelsEnd)),
    height: Math.ceil(2 * MARGIN + above + first + between + second + below),
    boxes: inner.flatMap((state) => {
      const rect = rects.get(state.path)
      if (rect === undefined) return []
      const isOpen = inner.some(({ path }) => parentOf(path) === state.path)
      return [
        {
          path: state.path,
          name: nameOf(state.path),
          isFinal: state.kind === 'final',
          isOpen,
          ...rounded(rect),
        },
      ]
    }),
    arrows: [...drawnOuter, ...drawnInner],
  }
}

/** Transitions as arrows on the level where the paths of their states part; what changes no state is not drawn. */
function buildArrows(states: readonly DiagramState[]): Arrow[] {
  const arrows = new Map<string, { from: string; to: string; transitions: ChartTransition[] }>()
  for (const { path, transitions } of states)
    for (const { event, guard, target } of transitions) {
      if (target === undefined) continue
      const ends = findSiblings(path, target)
      if (ends === undefined) continue
      const [from, to] = ends
      const arrow = arrows.get(`${from} ${to}`) ?? { from, to, transitions: [] }
      arrow.transitions.push({ event, from: path, to: target, ...(guard === undefined ? {} : { guard }) })
      arrows.set(`${from} ${to}`, arrow)
    }
  return [...arrows.values()]
}

/** The two siblings that an arrow from one state to another joins; `undefined` where one is inside the other. */
function findSiblings(from: string, to: string): readonly [string, string] | undefined {
  const [a, b] = [from.split('.'), to.split('.')]
  const parted = a.findIndex((name, index) => name !== b[index])
  if (parted === -1 || parted >= b.length) return undefined
  return [a.slice(0, parted + 1).join('.'), b.slice(0, parted + 1).join('.')]
}

type Cell = { readonly row: number; readonly column: number }

/** `-1`: neighbours, joined by a straight line. Else the channel: above the first row, between the rows, below. */
function findRoute(
  { from, to }: { readonly from: string; readonly to: string },
  cells: ReadonlyMap<string, Cell>,
): number {
  const [a, b] = [cells.get(from), cells.get(to)]
  if (a === undefined || b === undefined) return -1
  if (a.row === b.row) return Math.abs(a.column - b.column) === 1 ? -1 : a.row === 0 ? 0 : 2
  return a.column === b.column ? -1 : 1
}

function sizeOf(
  state: DiagramState,
  all: readonly DiagramState[],
  depth = 0,
): { width: number; height: number } {
  const children = all.filter(({ path }) => parentOf(path) === state.path)
  const own = nameOf(state.path).length * LEAF.letter + 30
  if (children.length === 0) return { width: Math.max(86, own), height: depth === 0 ? 44 : LEAF.height }
  const sizes = children.map((child) => sizeOf(child, all, depth + 1))
  const widest = Math.max(...sizes.map(({ width }) => width))
  const gaps = (children.length - 1) * LEAF.gap
  return depth === 0
    ? {
        width: Math.max(own, widest) + 2 * PAD + 16,
        height: HEAD + sizes.reduce((sum, { height }) => sum + height, 0) + gaps + PAD,
      }
    : {
        width: Math.max(own, sizes.reduce((sum, { width }) => sum + width, 0) + gaps) + 2 * PAD - 6,
        height: HEAD - 4 + Math.max(...sizes.map(({ height }) => height)) + PAD - 3,
      }
}

/** Children of the first level stand below each other, theirs beside each other. */
function placeInside(
  state: DiagramState,
  all: readonly DiagramState[],
  rects: Map<string, Rect>,
  depth = 0,
): void {
  const box = rects.get(state.path)
  const children = all.filter(({ path }) => parentOf(path) === state.path)
  if (box === undefined || children.length === 0) return
  let [x, y] = depth === 0 ? [box.x + PAD, box.y + HEAD] : [box.x + PAD - 3, box.y + HEAD - 4]
  for (const child of children) {
    const size = sizeOf(child, all, depth + 1)
    const width = depth === 0 ? box.width - 2 * PAD - 16 : size.width
    rects.set(child.path, { x, y, width, height: size.height })
    if (depth === 0) y += size.height + LEAF.gap
    else x += size.width + LEAF.gap
    placeInside(child, all, rects, depth + 1)
  }
}

type Arrow = Omit<ChartArrow, 'points' | 'at' | 'anchor' | 'isMain'>

/** Arrows of the first level: straight between neighbours, else down into a lane of a channel and up again. */
function drawOuter(
  arrows: readonly Arrow[],
  routes: readonly number[],
  rects: ReadonlyMap<string, Rect>,
  cells: ReadonlyMap<string, Cell>,
  channelTops: readonly number[],
  channelHeights: readonly number[],
  finals: ReadonlySet<string>,
): ChartArrow[] {
  const order = [...cells.keys()]
  const ports = new Map<string, { arrow: number; isStart: boolean; towards: number }[]>()
  const cellOf = (path: string) => cells.get(path) ?? { row: 0, column: 0 }
  const centre = (path: string) => {
    const { x, width } = rects.get(path) ?? { x: 0, width: 0 }
    return x + width / 2
  }
  const sideOf = (path: string, channel: number) =>
    `${path} ${channel === 1 ? 1 - cellOf(path).row : cellOf(path).row}`
  // The straight vertical ones take part, so that lanes leave them room.
  arrows.forEach(({ from, to }, arrow) => {
    const isVertical = cellOf(from).column === cellOf(to).column
    const channel = routes[arrow] === -1 ? (isVertical ? 1 : undefined) : routes[arrow]
    if (channel === undefined) return
    for (const [path, other, isStart] of [
      [from, to, true],
      [to, from, false],
    ] as const) {
      const side = sideOf(path, channel)
      const towards = centre(other) + (isStart ? 1 : 0)
      ports.set(side, [...(ports.get(side) ?? []), { arrow, isStart, towards }])
    }
  })
  const portOf = (path: string, arrow: number, isStart: boolean, channel: number): number => {
    const all = (ports.get(sideOf(path, channel)) ?? []).toSorted(
      (a, b) => a.towards - b.towards || a.arrow - b.arrow,
    )
    const index = all.findIndex((port) => port.arrow === arrow && port.isStart === isStart)
    const { x, width } = rects.get(path) ?? { x: 0, width: 0 }
    const step = Math.min(22, (width - 24) / Math.max(1, all.length))
    return x + width / 2 + (index - (all.length - 1) / 2) * step
  }
  // The widest arrows get the lanes that are farthest from the boxes they leave.
  const laneOf = (arrow: number): number => {
    const channel = routes[arrow] ?? 0
    const spans = arrows
      .map(({ from, to }, index) => ({ index, span: Math.abs(centre(from) - centre(to)) }))
      .filter(({ index }) => routes[index] === channel)
      .toSorted((a, b) => a.span - b.span || a.index - b.index)
    return spans.findIndex(({ index }) => index === arrow)
  }

  return arrows.map((arrow, index) => {
    const { from, to } = arrow
    const [a, b] = [rects.get(from), rects.get(to)]
    const places = [order.indexOf(from), order.indexOf(to)] as const
    const isEnd = [from, to].some((path) => finals.has(path))
    const isNext = Math.abs(places[1] - places[0]) === 1
    const isMain = !isEnd && (isNext || (places[1] === 0 && places[0] === order.length - 1 - finals.size))
    if (a === undefined || b === undefined)
      return { ...arrow, points: [], at: [0, 0] as const, anchor: 'middle', isMain }
    const channel = routes[index] ?? 0
    const [ca, cb] = [cellOf(from), cellOf(to)]
    if (channel === -1 && ca.row === cb.row) {
      const isBack = arrows.some((other) => other.from === to && other.to === from)
      const bottom = Math.min(a.y + a.height, b.y + b.height)
      const top = Math.max(a.y, b.y)
      const y = (top + bottom) / 2 + (isBack ? (places[1] > places[0] ? -8 : 8) : 0)
      const isRight = a.x < b.x
      const points = [
        [isRight ? a.x + a.width : a.x, y],
        [isRight ? b.x : b.x + b.width, y],
      ] as const
      const middle = (points[0][0] + points[1][0]) / 2
      return {
        ...arrow,
        points: points.map(snap),
        at: snap([middle, y + (isBack && places[1] < places[0] ? 12 : -7)]),
        anchor: 'middle',
        isMain,
      }
    }
    if (channel === -1) {
      // Down on the left, up on the right, each label on its own side.
      const isDown = ca.row < cb.row
      const x = (Math.max(a.x, b.x) + Math.min(a.x + a.width, b.x + b.width)) / 2 + (isDown ? -14 : 14)
      const points = [
        [x, isDown ? a.y + a.height : a.y],
        [x, isDown ? b.y : b.y + b.height],
      ] as const
      const at = snap([x + (isDown ? -6 : 6), (points[0][1] + points[1][1]) / 2])
      return { ...arrow, points: points.map(snap), at, anchor: isDown ? 'end' : 'start', isMain }
    }
    const top = channelTops[channel] ?? 0
    const height = channelHeights[channel] ?? 0
    const lane = laneOf(index)
    const count = routes.filter((route) => route === channel).length
    const y =
      channel === 0
        ? top + height - 12 - lane * LANE
        : channel === 2
          ? top + 12 + lane * LANE
          : top + height / 2 + (lane - (count - 1) / 2) * LANE
    const [x1, x2] = [portOf(from, index, true, channel), portOf(to, index, false, channel)]
    const edge = (rect: Rect, { row }: Cell) =>
      channel === 0 || (channel === 1 && row === 1) ? rect.y : rect.y + rect.height
    const points = [
      [x1, edge(a, ca)],
      [x1, y],
      [x2, y],
      [x2, edge(b, cb)],
    ] as const
    return { ...arrow, points: points.map(snap), at: snap([(x1 + x2) / 2, y]), anchor: 'middle', isMain }
  })
}

/** Arrows inside a state: to the next one straight, else along the side. */
function drawInner(arrow: Arrow, rects: ReadonlyMap<string, Rect>, index: number): ChartArrow {
  const [a, b] = [rects.get(arrow.from), rects.get(arrow.to)]
  if (a === undefined || b === undefined)
    return { ...arrow, points: [], at: [0, 0], anchor: 'middle', isMain: false }
  if (Math.abs(a.y - b.y) < 1) {
    const y = a.y + a.height / 2
    const points =
      a.x < b.x
        ? [[a.x + a.width, y] as const, [b.x, y] as const]
        : [[a.x, y] as const, [b.x + b.width, y] as const]
    return {
      ...arrow,
      points: points.map(snap),
      at: snap([(a.x + b.x + b.width) / 2, y]),
      anchor: 'middle',
      isMain: false,
    }
  }
  const isDown = a.y < b.y
  const distance = isDown ? b.y - (a.y + a.height) : a.y - (b.y + b.height)
  if (distance <= LEAF.gap + 1) {
    const x = a.x + a.width / 2 + (isDown ? -10 : 10)
    const points = [
      [x, isDown ? a.y + a.height : a.y],
      [x, isDown ? b.y : b.y + b.height],
    ] as const
    return {
      ...arrow,
      points: points.map(snap),
      at: snap([x + 7, (points[0][1] + points[1][1]) / 2]),
      anchor: 'start',
      isMain: false,
    }
  }
  const right = Math.max(a.x + a.width, b.x + b.width)
  const x = right + 6 + (index % 2) * 6
  const [ya, yb] = [a.y + a.height / 2 + 5, b.y + b.height / 2 - 5]
  const points = [
    [a.x + a.width, ya],
    [x, ya],
    [x, yb],
    [b.x + b.width, yb],
  ] as const
  return { ...arrow, points: points.map(snap), at: snap([x, (ya + yb) / 2]), anchor: 'middle', isMain: false }
}

function snap([x, y]: readonly [number, number]): readonly [number, number] {
  return [Math.round(x * 2) / 2, Math.round(y * 2) / 2]
}

function rounded({ x, y, width, height }: Rect): Rect {
  return { x: Math.round(x), y: Math.round(y), width: Math.round(width), height: Math.round(height) }
}

function nameOf(path: string): string {
  return path.split('.').at(-1) ?? path
}

function parentOf(path: string): string {
  return path.split('.').slice(0, -1).join('.')
}
