import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { createPlace } from './command-line.ts'

const idleStop = fileURLToPath(new URL('../scripts/idle-stop.json5', import.meta.url))
const wrong = `{
  title: 'a service without a request is ready',
  steps: [{ at: 0, say: 'no request comes', state: 'down.cold' }, { at: 1000, state: 'ready' }, { at: 2000 }],
}`

test('a script that holds is told as a story and is a success', async () => {
  await using place = await createPlace()
  const { code, stdout } = await place.run('script', 'run', idleStop)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^a released service stops after idleStopMs\n/)
  expect(stdout).toMatch(/ 0 ms {2}→ lease\.requested id=alice\n/)
  expect(stdout).toMatch(/process\.signalled .*signal=SIGTERM/)
  expect(stdout).toMatch(/✓ down\.cold\n✓ 5 steps, every expectation met\n/)
})

test('a script that does not hold says where, and fails', async () => {
  await using place = await createPlace()
  const file = place.write('wrong.json5', wrong)
  const { code, stdout } = await place.run('script', 'run', idleStop, file)
  expect(code).toBe(1)
  expect(stdout).toMatch(
    /1000 ms {2}✗ down\.cold\n +expected state ready, saw down\.cold\n✗ it ends at step 2 of 3/,
  )
})

test('with --json the stories are one document', async () => {
  await using place = await createPlace()
  const file = place.write('wrong.json5', wrong)
  const { code, stdout } = await place.run('script', 'run', idleStop, file, '--json')
  expect(code).toBe(1)
  expect(JSON.parse(stdout)).toMatchObject({
    ok: false,
    stories: [
      { file: idleStop, ok: true },
      { file, ok: false, steps: [{ failures: [] }, { failures: ['expected state ready, saw down.cold'] }] },
    ],
  })
})

test.each([
  ['missing.json5', null, /missing\.json5 cannot be read/],
  ['odd.json5', '{ title: 1 }', /odd\.json5: .*title/s],
  ['torn.json5', '{', /torn\.json5: JSON5/],
])('the file %s is wrong usage', async (name, text, reason) => {
  await using place = await createPlace()
  if (text !== null) place.write(name, text)
  const { code, stderr } = await place.run('script', 'run', name)
  expect(code).toBe(2)
  expect(stderr).toMatch(reason)
})

test('a script is also played with a real process', async () => {
  await using place = await createPlace()
  const { code, stdout } = await place.run('script', 'run', '--real', idleStop)
  expect({ code, end: stdout.trim().split('\n').at(-1) }).toEqual({
    code: 0,
    end: '✓ 5 steps, every expectation met',
  })
})
