import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createOutput, type OutputOptions } from '../../src/process/output.ts'
import { createScrubber } from '../../src/text/scrubber.ts'

/** What is kept of chunks that arrive on stdout, and every line that was told. */
async function print(chunks: readonly (Buffer | string)[], options: OutputOptions = {}) {
  const output = createOutput(options)
  const told: string[] = []
  output.lines$.subscribe(({ text }) => told.push(text))
  const pipe = Readable.from(
    chunks.map((chunk) => Buffer.from(chunk)),
    { objectMode: false },
  )
  output.attach('stdout', pipe)
  await finished(pipe)
  return { output, told, kept: output.tail().map(({ text }) => text) }
}

describe('output', () => {
  test.each([
    ['LF', ['a\nb\n'], ['a', 'b']],
    ['CRLF', ['a\r\nb\r\n'], ['a', 'b']],
    ['CRLF across chunks', ['a\r', '\nb'], ['a', 'b']],
    ['a progress bar', ['10%\r20%\r', '30%\n'], ['10%', '20%', '30%']],
    ['empty lines', ['a\n\n\r\n\rb'], ['a', '', '', '', 'b']],
    ['a last line without an end', ['a\nb'], ['a', 'b']],
    ['nothing', [''], []],
  ])('is split at %s', async (_, chunks, lines) => {
    expect((await print(chunks)).told).toEqual(lines)
  })

  test('is the same however it is cut into chunks', async () => {
    const text = 'é\n日本\r\n👍 ok\rx\n\n'
    const bytes = Buffer.from(text)
    const whole = (await print([bytes])).told
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length)), async (cuts) => {
        const ends = [...cuts, bytes.length].sort((a, b) => a - b)
        const chunks = ends
          .map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
          .filter(({ length }) => length > 0)
        expect((await print(chunks)).told).toEqual(whole)
      }),
    )
  })

  test('keeps the colours of a line apart from its text, and none where a secret was masked', async () => {
    const clean = (text: string) => text.replaceAll('sk-secret', '***')
    const { output } = await print(
      ['\x1b[32mok\x1b[0m fine\n', '\x1b[31msk-sec\x1b[33mret\x1b[0m\n', 'plain\n'],
      {
        clean,
      },
    )
    expect(output.tail().map(({ text, styles }) => ({ text, styles }))).toEqual([
      { text: 'ok fine', styles: [[0, 2, 'green']] },
      { text: '***', styles: undefined },
      { text: 'plain', styles: undefined },
    ])
  })

  test('is cut where no line end comes, between two characters (fault 36)', async () => {
    const { told } = await print(['é'.repeat(10)], { maxLineBytes: 5 })
    expect(told).toEqual(['éé', 'éé', 'éé', 'éé', 'éé'])
  })

  test('is cut at the same places whatever the chunks', async () => {
    const { told } = await print(
      Array.from({ length: 100 }, () => 'x'.repeat(1000)),
      { maxLineBytes: 8192 },
    )
    expect(told.map(({ length }) => length)).toEqual([
      ...Array.from({ length: 12 }, () => 8192),
      100_000 - 12 * 8192,
    ])
  })

  test('holds no secret, nor a part of one, wherever a long line or a chunk is cut (fault 115)', async () => {
    const secret = 'sk-0123456789-é'
    const { text: clean } = createScrubber([secret])
    const filler = fc.string({ unit: fc.constantFrom('x', 'é', '日', ' '), maxLength: 300 })
    await fc.assert(
      fc.asyncProperty(
        fc.array(filler, { minLength: 2, maxLength: 6 }),
        fc.array(fc.nat(2_000)),
        async (parts, cuts) => {
          const bytes = Buffer.from(parts.join(secret))
          const ends = [...cuts.filter((cut) => cut < bytes.length), bytes.length].sort((a, b) => a - b)
          const chunks = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
          const { told } = await print(
            chunks.filter(({ length }) => length > 0),
            { maxLineBytes: 64, clean },
          )
          expect(told.join('')).toBe(parts.join('***'))
        },
      ),
    )
  })

  test('shows bytes that are not UTF-8 as U+FFFD', async () => {
    expect((await print([Buffer.from([0x61, 0xff, 0x62, 0x0a, 0xc3])])).told).toEqual(['a\ufffdb', '\ufffd'])
  })

  test('is told and kept without control characters', async () => {
    const { told, kept } = await print(['\x1b[31mred\x1b[0m\x07\n'])
    expect([told, kept]).toEqual([['red'], ['red']])
  })

  test('keeps the last lines and counts the others', async () => {
    const { output, kept } = await print(['1\n2\n3\n4\n5\n'], { maxLines: 3 })
    expect(kept).toEqual(['3', '4', '5'])
    expect(output.droppedLines).toBe(2)
    expect(output.tail(2).map(({ text }) => text)).toEqual(['4', '5'])
    expect(output.tail(0)).toEqual([])
  })

  test('keeps no more bytes than it may', async () => {
    const { kept } = await print(['éé\néé\néé\n'], { maxTailBytes: 9 })
    expect(kept).toEqual(['éé', 'éé'])
  })

  test('names the pipe and the time of every line', async () => {
    let nowMs = 0
    const clock = { now: () => nowMs, setTimeout: () => undefined, clearTimeout: () => {} }
    const output = createOutput({ clock })
    const [stdout, stderr] = [new PassThrough(), new PassThrough()]
    output.attach('stdout', stdout)
    output.attach('stderr', stderr)
    stdout.end('half ')
    await finished(stdout)
    nowMs = 5
    stderr.end('whole\n')
    await finished(stderr)
    expect(output.tail()).toEqual([
      { stream: 'stdout', text: 'half ', atMs: 0 },
      { stream: 'stderr', text: 'whole', atMs: 5 },
    ])
  })

  test('ends with what was half said, and hears nothing afterwards', async () => {
    const output = createOutput()
    const pipe = new PassThrough()
    output.attach('stderr', pipe)
    const ended = new Promise<void>((resolve) => {
      output.lines$.subscribe({ complete: resolve })
    })
    pipe.write('half')
    await new Promise((resolve) => setImmediate(resolve))
    output.close()
    output.close()
    await ended
    pipe.end('late\n')
    await finished(pipe)
    expect(output.tail().map(({ text }) => text)).toEqual(['half'])
  })

  test('survives a pipe that breaks', async () => {
    const output = createOutput()
    const pipe = new PassThrough()
    output.attach('stdout', pipe)
    const closed = new Promise((resolve) => pipe.on('close', resolve))
    pipe.destroy(new Error('broken'))
    await closed
    expect(output.tail()).toEqual([])
  })
})

describe('output without end', () => {
  /** Lines told in each turn of the event loop until `isEnough`. */
  const countPerTurn = async (
    output: ReturnType<typeof createOutput>,
    isEnough: (turns: number) => boolean,
  ) => {
    const counts: number[] = []
    let count = 0
    output.lines$.subscribe(() => {
      count += 1
    })
    while (!isEnough(counts.length)) {
      await new Promise((resolve) => setImmediate(resolve))
      counts.push(count)
      count = 0
    }
    return counts
  }

  test.skipIf(process.platform === 'win32').each([
    ['blank lines', ''],
    ['two-byte lines', 'x'],
  ])('of %s is taken in bounded parts, and other work gets its turns', async (_, text) => {
    const child = spawn('yes', [text], { stdio: ['ignore', 'pipe', 'ignore'] })
    try {
      const output = createOutput()
      output.attach('stdout', child.stdout)
      const counts = await countPerTurn(output, (turns) => turns > 50 && output.droppedLines > 50_000)
      expect(Math.max(...counts)).toBeLessThanOrEqual(2_000)
    } finally {
      const ended = once(child, 'close')
      child.kill('SIGKILL')
      child.stdout.resume()
      await ended
    }
  })

  test('is read a few times in a turn at most, however long its lines', async () => {
    const chunk = Buffer.alloc(65_536, 'x')
    let reads = 0
    const pipe = new Readable({
      highWaterMark: 1,
      read() {
        reads += 1
        this.push(reads > 50 ? null : chunk)
      },
    })
    createOutput().attach('stdout', pipe)
    const readsPerTurn: number[] = []
    while (!pipe.readableEnded) {
      const before = reads
      await new Promise((resolve) => setImmediate(resolve))
      readsPerTurn.push(reads - before)
    }
    expect(Math.max(...readsPerTurn)).toBeLessThan(5)
  })

  test('loses no line at the end of a part, and tells all when it is closed', async () => {
    const expected = Array.from({ length: 5_000 }, (_, index) => String(index))
    const chunk = expected.map((text) => `${text}\r\n`).join('')
    expect((await print([chunk.slice(0, 10_000), chunk.slice(10_000)])).told).toEqual(expected)
    const output = createOutput()
    const told: string[] = []
    output.lines$.subscribe(({ text }) => told.push(text))
    const pipe = new PassThrough()
    output.attach('stdout', pipe)
    pipe.emit('data', Buffer.from(chunk))
    expect(told.length).toBeLessThan(expected.length)
    output.close()
    expect(told).toEqual(expected)
  })
})
