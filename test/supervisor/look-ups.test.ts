import { expect, test, vi } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'

const explained = vi.hoisted(() => ({ count: 0 }))
vi.mock('../../src/explanation/explanation.ts', async (load) => {
  const original = await load<typeof import('../../src/explanation/explanation.ts')>()
  return {
    ...original,
    explain: (...given: Parameters<typeof original.explain>) => {
      explained.count += 1
      return original.explain(...given)
    },
  }
})
const { createSupervisor } = await import('../../src/supervisor/supervisor.ts')

test('a list of models explains no service, and a look at one service explains that one', async () => {
  const ids = Array.from({ length: 50 }, (_, index) => `p${index}`)
  const config = parseConfig(
    JSON.stringify({
      models: {
        providers: Object.fromEntries(
          ids.map((id, index) => [
            id,
            { baseUrl: `http://127.0.0.1:${index + 1}/v1`, models: [{ id: 'm' }, { id: 'n' }] },
          ]),
        ),
      },
    }),
  )
  await using supervisor = createSupervisor({ config })
  explained.count = 0
  expect(supervisor.models()).toHaveLength(100)
  expect(supervisor.model('p7/m').state).toBe('down.cold')
  expect(explained.count).toBe(0)
  expect(supervisor.service('p7').service).toBe('p7')
  expect(explained.count).toBe(1)
  supervisor.snapshot()
  expect(explained.count).toBe(51)
})
