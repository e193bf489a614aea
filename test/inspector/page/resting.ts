/** Services that are configured and have not been asked for. */
export function listResting(count: number): Record<string, object> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [
      `model-${index}`,
      {
        baseUrl: `http://127.0.0.1:${20_001 + index}/v1`,
        localService: { command: process.execPath, args: ['-e', `/* ${index} */`] },
        models: [{ id: 'm' }],
      },
    ]),
  )
}
