import { expect, test } from 'vitest'
import type { Decision } from '../../machines/scheduler.ts'
import { toDecisionText } from '../../src/explanation/decision-text.ts'

const taken = [{ key: 'k', service: 'qwen', how: 'evict', evictCost: 1, frees: { vramMiB: 9000 } }] as const
const needed = [{ limit: 'vramMiB', amount: 9000, capacity: 24_000, free: 200, isUnmeasured: false }]
const rejected = [
  { key: 'l', service: 'llama', because: 'pinned', holds: {} },
  { key: 'm', service: 'gemma', because: 'leased', holds: { vramMiB: 12_000 } },
] as const

const decide = (
  cause: Decision['because']['cause'],
  changes: {
    readonly choice?: object
    readonly because?: object
    readonly rejected?: Decision['rejected']
  } = {},
): Decision => ({
  choice: { type: 'wait', key: 'b', service: 'big', taken: [], ...changes.choice },
  because: { cause, needed, ahead: [], ...changes.because },
  rejected: changes.rejected ?? [],
})

test.each([
  [decide('fits'), 'big needs 9000 MiB of VRAM (200 of 24000 free), which was free'],
  [
    decide('fits', { because: { needed: needed.map((need) => ({ ...need, isUnmeasured: true })) } }),
    'big needs 9000 MiB of VRAM (all of it, because its use is not measured yet; 200 of 24000 free), which was free',
  ],
  [decide('fits', { because: { needed: [] } }), 'big needs no room that others need'],
  [
    decide('idle-cheapest', { choice: { taken }, rejected }),
    'big needs 9000 MiB of VRAM (200 of 24000 free): qwen has to stop for it; llama is pinned, gemma holds 12000 MiB of VRAM and is in use',
  ],
  [
    decide('idle-cheapest', { choice: { taken: [...taken, { ...taken[0], service: 'phi' }] } }),
    'big needs 9000 MiB of VRAM (200 of 24000 free): qwen and phi have to stop for it',
  ],
  [
    decide('idle-cheapest', {
      choice: { taken: [...taken, { ...taken[0], service: 'phi', how: 'sleep' }], isWake: true },
    }),
    'big needs 9000 MiB of VRAM (200 of 24000 free) to wake: phi has to sleep and qwen has to stop for it',
  ],
  [
    decide('room-made', { choice: { taken: [{ ...taken[0], how: 'sleep' }] } }),
    'big needs 9000 MiB of VRAM (200 of 24000 free): qwen had to sleep for it',
  ],
  [
    decide('room-made', { choice: { taken } }),
    'big needs 9000 MiB of VRAM (200 of 24000 free): qwen had to stop for it',
  ],
  [
    decide('starved', {
      choice: { taken },
      because: { needed: [{ limit: 'group:gpu', amount: 1, capacity: 1, free: 0 }] },
    }),
    'big needs the place of the group gpu, and has waited long enough: qwen has to stop as soon as its requests are done',
  ],
  [decide('start-places'), 'big waits: as many services are starting as may at the same time'],
  [
    decide('receipts'),
    'big needs 9000 MiB of VRAM (200 of 24000 free), and waits until what is stopping is gone',
  ],
  [
    decide('promised', { because: { ahead: ['first'] } }),
    'big needs 9000 MiB of VRAM (200 of 24000 free), which first gets first',
  ],
  [
    decide('no-room', { rejected }),
    'big needs 9000 MiB of VRAM (200 of 24000 free), and no other service can make room for it: llama is pinned, gemma holds 12000 MiB of VRAM and is in use',
  ],
  [
    decide('nobody-waits'),
    'no request waits for big any more, and another service would have to stop for it',
  ],
  [
    decide('no-room', {
      rejected: [{ key: 's', service: 'fresh', because: 'settling', holds: {}, minResidencyMs: 5_000 }],
    }),
    'big needs 9000 MiB of VRAM (200 of 24000 free), and no other service can make room for it: fresh is kept while services take turns, until it has been up for its minimum time (5.0 s)',
  ],
])('%#: a decision says what is needed, what is taken and what is spared', (decision, text) => {
  expect(toDecisionText(decision)).toBe(text)
})
