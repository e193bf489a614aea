import { useEffect, useLayoutEffect, useState } from 'preact/hooks'

/** Fewer rows are all there. */
const MIN_ROWS = 60
/** Rows beyond either edge of what is in sight. */
const AROUND = 12

export interface RowWindow {
  readonly first: number
  readonly end: number
  /** Height of the rows before and after, in pixels. */
  readonly beforePx: number
  readonly afterPx: number
}

/**
 * The rows of a long table that need to be there, by how far its view is scrolled. All rows have the height of the first
 * one with the class `one`.
 */
export function useRowWindow(count: number, find: () => HTMLTableElement | null): RowWindow {
  const [at, move] = useState({ top: 0, height: 1_200, row: 34 })
  const isLong = count > MIN_ROWS
  const measure = () => {
    const table = find()
    const main = table?.closest('main')
    if (table == null || main == null) return
    const row = table.querySelector('tr.one')?.getBoundingClientRect().height || 34
    const top = Math.max(0, main.getBoundingClientRect().top - table.getBoundingClientRect().top)
    move((before) =>
      before.row === row && Math.abs(before.top - top) < row && before.height === main.clientHeight
        ? before
        : { top, height: main.clientHeight, row },
    )
  }
  useLayoutEffect(measure, [isLong])
  useEffect(() => {
    if (!isLong) return
    const main = find()?.closest('main')
    let frame = 0
    const later = () => {
      cancelAnimationFrame(frame)
      frame = requestAnimationFrame(measure)
    }
    main?.addEventListener('scroll', later, { passive: true })
    addEventListener('resize', later)
    return () => {
      cancelAnimationFrame(frame)
      main?.removeEventListener('scroll', later)
      removeEventListener('resize', later)
    }
  }, [isLong])
  if (!isLong) return { first: 0, end: count, beforePx: 0, afterPx: 0 }
  const first = Math.max(0, Math.min(count, Math.floor(at.top / at.row)) - AROUND)
  const end = Math.min(count, first + Math.ceil(at.height / at.row) + 2 * AROUND)
  return { first, end, beforePx: first * at.row, afterPx: (count - end) * at.row }
}
