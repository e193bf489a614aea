import { useEffect, useMemo, useRef, useState } from 'preact/hooks'

/** Fewer rows are all drawn. */
const MIN_ROWS = 40
/** What is drawn beyond either edge of what is in sight. */
const AROUND = '600px 0px'

interface NearRows {
  /** Whether a row is drawn whole, by its key and its place. */
  isNear(key: string, index: number): boolean
  /** Takes the element of each row, which has its key. */
  readonly watch: (row: HTMLElement | null) => void
}

/**
 * The rows of a long table that are in sight, or almost: only those are drawn whole. The others keep their place and
 * their link, so the keys, the search of the browser and Tab find them.
 */
export function useNearRows(count: number): NearRows {
  const [near, see] = useState<ReadonlySet<string> | null>(null)
  const isLong = count > MIN_ROWS
  const observer = useRef<IntersectionObserver | null>(null)
  const notice = (entries: readonly IntersectionObserverEntry[]) =>
    see((before) => {
      const next = new Set(before)
      for (const { target, isIntersecting } of entries) {
        const key = (target as HTMLElement).dataset.row ?? ''
        if (isIntersecting) next.add(key)
        else next.delete(key)
      }
      return next
    })
  const watch = useMemo(
    () => (row: HTMLElement | null) => {
      if (row === null) return
      observer.current ??= new IntersectionObserver(notice, { root: row.closest('main'), rootMargin: AROUND })
      observer.current.observe(row)
    },
    [],
  )
  useEffect(() => () => observer.current?.disconnect(), [])
  return {
    isNear: (key, index) => !isLong || (near === null ? index < MIN_ROWS : near.has(key)),
    watch,
  }
}
