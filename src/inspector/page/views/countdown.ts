import { describeNextBriefly } from '../../../explanation/next.ts'
import type { Situation } from '../../../explanation/situation.ts'

/** What a delay leads to, without its time: `stops in`. */
export function formatBrief(name: string, ownership: Situation['ownership']): string {
  return describeNextBriefly({ timers: [{ name, remainingMs: 0 }], ownership }).replace(/ 0\.0 s$/, '')
}
