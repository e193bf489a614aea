// @module-tag proof
import { test } from 'vitest'
import { type Box, type Boxes, createBoxes } from './boxes.ts'
import { describeWithNats } from './nats-server.ts'

interface Three {
  readonly boxes: Boxes
  readonly all: readonly [Box, Box, Box]
}

async function createThree(
  flags: readonly string[] = [],
  cluster: object = {},
): Promise<Three & AsyncDisposable> {
  const boxes = await createBoxes(['tower', 'attic', 'cellar'], { flags, cluster })
  await Promise.all(boxes.all.map((box) => box.start()))
  await boxes.untilJoined()
  return {
    boxes,
    all: boxes.all as [Box, Box, Box],
    [Symbol.asyncDispose]: () => boxes[Symbol.asyncDispose](),
  }
}

/** The machine that runs the server of the model, after a first request for it. */
async function findOwner({
  all,
}: Three): Promise<{ readonly owner: Box; readonly others: readonly [Box, Box] }> {
  const first = await all[0].ask({ text: 'hello' })
  if (!first.ok) throw new Error(await first.text())
  await first.text()
  const owner = all.find((box) => box.starts() > 0)
  if (owner === undefined) throw new Error('no machine has started it')
  return { owner, others: all.filter((box) => box !== owner) as [Box, Box] }
}

function ask(boxes: readonly Box[], count: number, text?: string): Promise<Response>[] {
  return Array.from({ length: count }, (_, index) =>
    (boxes[index % boxes.length] as Box).ask(text === undefined ? {} : { text }),
  )
}

/** `ok` for each answer with status 200, else its status and text. */
async function read(answers: readonly Promise<Response>[]): Promise<string[]> {
  return Promise.all(
    answers.map(async (answer) => {
      const response = await answer
      const text = await response.text()
      return response.ok ? 'ok' : `${response.status} ${text}`
    }),
  )
}

const oks = (count: number) => Array(count).fill('ok')
const startsOf = (all: readonly Box[]) => all.map((box) => box.starts()).reduce((sum, one) => sum + one, 0)
/** Waits until the load has gone on for a moment. */
const settle = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describeWithNats('faults of machines', () => {
  test('kill -9 of an idle machine: the next request goes elsewhere at once (row 1)', async ({ expect }) => {
    await using three = await createThree()
    const { owner, others } = await findOwner(three)
    await owner.end('SIGKILL')
    expect(await read(ask(others, 2))).toEqual(oks(2))
    await others[0].until(new RegExp(`member ${owner.name} is lost`))
    await others[1].until(new RegExp(`member ${owner.name} is lost`))
  })

  test('kill -9 under 8 requests that wait for a first byte: 8 answers from elsewhere (row 2)', async ({
    expect,
  }) => {
    await using three = await createThree(['--first-token-ms', '3000'])
    const { owner, others } = await findOwner(three)
    const waiting = ask(others, 8)
    await settle(700)
    await owner.end('SIGKILL')
    expect(await read(waiting)).toEqual(oks(8))
    expect(startsOf(others)).toBe(1)
  })

  test('kill -9 under streams: an error event, and no end that looks clean (row 3)', async ({ expect }) => {
    await using three = await createThree(['--token-delay-ms', '100'])
    const { owner, others } = await findOwner(three)
    const streams = others.map(async (box) => {
      const answer = await box.ask({ text: 'count to 100', stream: true })
      const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
      let text = ''
      try {
        for (;;) {
          const part = await reader?.read()
          if (part?.done !== false) break
          text += part.value
        }
      } catch (error) {
        text += `\n${String(error)}`
      }
      return text
    })
    await settle(1000)
    await owner.end('SIGKILL')
    for (const text of await Promise.all(streams)) {
      expect(text).toMatch(/"error"/)
      expect(text).not.toContain('[DONE]')
    }
  })

  test('SIGSTOP of a machine: waiting requests move in seconds, and SIGCONT brings it back (row 4)', async ({
    expect,
  }) => {
    await using three = await createThree(['--first-token-ms', '3000'])
    const { owner, others } = await findOwner(three)
    const waiting = ask(others, 8)
    await settle(500)
    const stoppedAtMs = performance.now()
    owner.signal('SIGSTOP')
    await others[0].until(new RegExp(`member ${owner.name} is lost`))
    expect(performance.now() - stoppedAtMs).toBeLessThan(4000)
    expect(await read(waiting)).toEqual(oks(8))
    owner.signal('SIGCONT')
    await others[0].until(new RegExp(`is lost[\\s\\S]*member ${owner.name} .*is there`))
    // It does not call the others lost, because it was the one that stood still.
    expect(owner.log).not.toMatch(/is lost/)
  })

  test('kill -9 of the machine that starts the model: one other starts it (row 5)', async ({ expect }) => {
    await using three = await createThree(['--load-ms', '1500'])
    const waiting = ask(three.all, 12)
    const starter = await waitForStart(three.all)
    const others = three.all.filter((box) => box !== starter)
    const asked = waiting.filter((_, index) => three.all[index % 3] !== starter)
    for (const one of waiting) one.catch(() => {})
    await starter.end('SIGKILL')
    expect(await read(asked)).toEqual(oks(8))
    expect(startsOf(others)).toBe(1)
  })

  test('SIGSTOP of the machine that starts the model: one other starts it, and the first gives up (row 5)', async ({
    expect,
  }) => {
    await using three = await createThree(['--load-ms', '1500'])
    const waiting = ask(three.all, 12)
    const starter = await waitForStart(three.all)
    const others = three.all.filter((box) => box !== starter)
    const asked = waiting.filter((_, index) => three.all[index % 3] !== starter)
    for (const one of waiting) one.catch(() => {})
    starter.signal('SIGSTOP')
    expect(await read(asked)).toEqual(oks(8))
    expect(startsOf(others)).toBe(1)
    starter.signal('SIGCONT')
    await starter.end('SIGTERM')
  })

  test('a machine that drains finishes its streams and gets no new request, until it is undone (row 19)', async ({
    expect,
  }) => {
    await using three = await createThree(['--token-delay-ms', '20'])
    const { owner, others } = await findOwner(three)
    const streams = others.flatMap((box) =>
      Array.from({ length: 4 }, async () => {
        const answer = await box.ask({ text: 'count to 100', stream: true })
        return answer.text()
      }),
    )
    await settle(500)
    await owner.run('drain')
    await others[0].until(new RegExp(`member ${owner.name} is draining`))
    await others[1].until(new RegExp(`member ${owner.name} is draining`))
    expect(await read(ask(three.all, 12))).toEqual(oks(12))
    expect(startsOf(others)).toBe(1)
    for (const text of await Promise.all(streams)) expect(text).toMatch(/ 100"[\s\S]*data: \[DONE\]\s*$/)
    await owner.run('drain', '--undo')
    await others[0].until(new RegExp(`is draining[\\s\\S]*member ${owner.name} is open`))
    expect(await read(ask(three.all, 6))).toEqual(oks(6))
  })
})

describeWithNats('faults of NATS', () => {
  test('killed: no machine is lost, warm and cold models are served, one start for 30 requests (row 10)', async ({
    expect,
  }) => {
    await using three = await createThree(['--load-ms', '400'])
    await three.boxes.nats.kill()
    await Promise.all(three.all.map((box) => box.until(/NATS is not reached/)))
    expect(await read(ask(three.all, 30))).toEqual(oks(30))
    expect(startsOf(three.all)).toBe(1)
    expect(await read(ask(three.all, 6))).toEqual(oks(6))
    for (const box of three.all) expect(box.log).not.toMatch(/is lost/)
  })

  test('back with an empty store: claims work again (row 11)', async ({ expect }) => {
    await using three = await createThree(['--load-ms', '400'])
    await three.boxes.nats.kill({ keepsStore: false })
    await Promise.all(three.all.map((box) => box.until(/NATS is not reached/)))
    await three.boxes.nats.start()
    await Promise.all(three.all.map((box) => box.until(/is not reached[\s\S]*connected to NATS/)))
    expect(await read(ask(three.all, 30))).toEqual(oks(30))
    expect(startsOf(three.all)).toBe(1)
  })

  test('SIGSTOP for 5 seconds: as if it were killed (row 12)', async ({ expect }) => {
    await using three = await createThree(['--load-ms', '400'])
    await three.boxes.nats.stop()
    const answers = ask(three.all, 30)
    await settle(5000)
    three.boxes.nats.signal('SIGCONT')
    expect(await read(answers)).toEqual(oks(30))
    expect(startsOf(three.all)).toBe(1)
    for (const box of three.all) expect(box.log).not.toMatch(/is lost/)
  })
})

describeWithNats('many requests', () => {
  test('30 at once over three machines that have the model: none gets more than half (T11)', async ({
    expect,
  }) => {
    await using three = await createThree(['--first-token-ms', '4000'])
    for (const box of three.all) expect((await box.run('start', 'llama')).code).toBe(0)
    const look = async (box: Box) => ((await box.json('/api/members')) as Members).members
    // Each has heard that the others are ready.
    for (const box of three.all)
      await expect
        .poll(async () => (await look(box)).map(({ services }) => services.llama?.state))
        .toEqual(['ready', 'ready', 'ready'])
    const answers = ask(three.all, 30)
    const loadsOf = () =>
      Promise.all(
        three.all.map(async (box) => {
          const self = (await look(box)).find(({ isSelf }) => isSelf)
          // The leases of a member for requests that it has sent on are of no server there.
          return self?.services.llama?.leases ?? 0
        }),
      )
    let most: number[] = []
    await expect
      .poll(async () => {
        most = await loadsOf()
        return most.reduce((sum, one) => sum + one, 0)
      })
      .toBe(30)
    expect(Math.max(...most)).toBeLessThanOrEqual(15)
    expect(await read(answers)).toEqual(oks(30))
  })
})

interface Members {
  readonly members: readonly {
    readonly isSelf: boolean
    readonly services: Readonly<Record<string, { readonly leases: number; readonly state: string }>>
  }[]
}

async function waitForStart(all: readonly Box[]): Promise<Box> {
  for (;;) {
    const starter = all.find((box) => box.starts() > 0)
    if (starter !== undefined) return starter
    await settle(10)
  }
}
