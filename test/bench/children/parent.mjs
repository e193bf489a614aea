/** What the bench that started this program wants of it. */
export const options = JSON.parse(process.argv[2] ?? '{}')

/** Says that this program is up, answers every question with what `answer` makes of it, ends with the parent. */
export function serveParent(said, answer = () => ({}), close = () => {}) {
  process.on('message', async (question) => {
    try {
      process.send(await answer(question))
    } catch (error) {
      process.send({ error: String(error?.stack ?? error) })
    }
  })
  process.once('disconnect', async () => {
    await close()
    process.exit(0)
  })
  process.send(said)
}
