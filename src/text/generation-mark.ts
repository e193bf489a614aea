/** Stands in a configuration for the id of a run, which is not known before the spawn. */
export const GENERATION = `\${GENERATION}`

/** A text with the id of a run: a container that is named with it cannot be another one's. */
export function fillGeneration(text: string, generation: string): string {
  return text.replaceAll(GENERATION, () => generation)
}
