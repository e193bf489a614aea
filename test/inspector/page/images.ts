import type { Page } from 'playwright-core'

/** Differences of one colour of a pixel that no eye sees, of 255. */
const UNSEEN = 24

/** The share of pixels that differ between two pictures; 1: they differ in size. `page`: an empty page that compares. */
export function compareImages(page: Page, a: Buffer, b: Buffer): Promise<number> {
  return page.evaluate(
    async ([first, second, unseen]) => {
      const read = async (base64: string) => {
        const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob())
        const canvas = new OffscreenCanvas(image.width, image.height)
        const context = canvas.getContext('2d') as OffscreenCanvasRenderingContext2D
        context.drawImage(image, 0, 0)
        return context.getImageData(0, 0, image.width, image.height)
      }
      const [one, other] = [await read(first), await read(second)]
      if (one.width !== other.width || one.height !== other.height) return 1
      let differing = 0
      for (let at = 0; at < one.data.length; at += 4)
        if (
          [0, 1, 2].some(
            (part) => Math.abs((one.data[at + part] ?? 0) - (other.data[at + part] ?? 0)) > unseen,
          )
        )
          differing += 1
      return differing / (one.data.length / 4)
    },
    [a.toString('base64'), b.toString('base64'), UNSEEN] as const,
  )
}
