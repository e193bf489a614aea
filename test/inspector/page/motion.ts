import type { Page } from 'playwright-core'

/** Notes every frame that a page asks for, from its next load on. Lists when each came, by the page's own clock. */
export async function watchFrames(page: Page): Promise<() => Promise<readonly number[]>> {
  await page.addInitScript(() => {
    const frames: number[] = []
    Object.assign(globalThis, { frames })
    const { requestAnimationFrame } = globalThis
    globalThis.requestAnimationFrame = (callback) =>
      requestAnimationFrame((time) => {
        frames.push(performance.now())
        callback(time)
      })
  })
  return () => page.evaluate(() => (globalThis as unknown as { frames: number[] }).frames)
}

/** The elements whose animations go on for ever. */
export function listEndless(page: Page): Promise<readonly string[]> {
  return page.evaluate(() =>
    document
      .getAnimations()
      .filter(
        ({ effect, playState }) =>
          playState === 'running' && effect?.getComputedTiming().iterations === Number.POSITIVE_INFINITY,
      )
      .map(({ effect }) => ((effect as KeyframeEffect).target as Element).outerHTML.slice(0, 120)),
  )
}
