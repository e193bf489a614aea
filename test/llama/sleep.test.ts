import { expect, test } from 'vitest'
import { createLlama, describeWithLlama, question } from './llama-server.ts'

describeWithLlama('a real llama-server that sleeps by itself', () => {
  test('is known to sleep, holds less while it does, is not woken by leasehold, and answers the next request', async () => {
    await using llama = await createLlama({
      flags: ['--sleep-idle-seconds', '1'],
      service: {
        needs: { vramMiB: 100 },
        sleep: { check: { path: '/props', field: 'is_sleeping' }, needs: { vramMiB: 10 } },
      },
      leasehold: { heartbeatMs: 100, budgets: { vramMiB: 120 } },
    })
    const held = () => llama.supervisor.snapshot().budgets[0]?.holds[0]?.amount
    const ask = async () => {
      const { choices } = await llama.openai.gateway.chat.completions.create({ ...question, max_tokens: 3 })
      return choices[0]?.message.content
    }
    const asleep = (times: number) => {
      let count = 0
      return llama.until('service.state', ({ to }) => {
        if (to === 'ready.asleep') count += 1
        return count === times
      })
    }
    expect(await ask()).toBe('0 1 2')
    expect(held()).toBe(100)
    await asleep(1)
    expect(held()).toBe(10)
    // More than a second of heartbeats: none of them wakes it.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    const props = (await (await fetch(`${llama.serverUrl}/props`)).json()) as { is_sleeping: boolean }
    expect(props.is_sleeping).toBe(true)
    expect(llama.service().state).toBe('ready.asleep')
    expect(await ask()).toBe('0 1 2')
    expect(held()).toBe(100)
    await asleep(2)
    expect(llama.all('process.spawned')).toHaveLength(1)
  })
})
