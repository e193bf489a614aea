// @module-tag proof

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createModelServer } from '../../../src/testing/model-server/model-server.ts'
import { expectFit, listViolations } from './axe.ts'
import { drawn, hasNoBrowser, inState, openStage } from './browser.ts'

describe.skipIf(hasNoBrowser)('the place to try a model', () => {
  test('tells that a model waits and loads, and stops on demand', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url, supervisor } = stage
    await page.goto(`${url}/#/try`)
    await page.getByRole('textbox', { name: 'Prompt', exact: true }).fill('hello')
    await page.keyboard.press('Control+Enter')
    const answer = page.getByRole('group', { name: 'Answer' })
    await answer.getByText('The model is loading…').waitFor()
    await expect.poll(() => answer.locator('.meters').textContent()).toMatch(/Loaded\d+/)
    await page.getByRole('button', { name: 'Stop', exact: true }).click()
    await answer.getByText('Stopped.').waitFor()
    await expect.poll(() => supervisor.requests()).toEqual([])
    // A refusal is told in the words of the gateway.
    await supervisor.stop('chat')
    await page.goto(`${url}/#/service/chat`)
    await inState(page, 'down.cold')
    expect(stage.complaints).toEqual([])
  })

  test('goes on with a talk, and asks for embeddings and a reranking', { timeout: 240_000 }, async () => {
    const server = createModelServer({ models: ['m'] })
    const { url: serverUrl } = await server.listen()
    const provider = { baseUrl: `${serverUrl}/v1` }
    await using stage = await openStage({
      providers: {
        quick: { ...provider, models: [{ id: 'm' }, { id: 'bge-m3' }, { id: 'bge-reranker' }] },
      },
    })
    const { page, url } = stage
    await page.goto(`${url}/#/try`)
    const answer = page.getByRole('group', { name: 'Answer' })
    const prompt = page.getByRole('textbox', { name: 'Prompt', exact: true })
    for (const [question, result] of [
      ['6 * 7', '42'],
      ['5 * 5', '25'],
    ] as const) {
      await prompt.fill(question)
      await page.getByRole('button', { name: 'Send' }).click()
      await expect.poll(() => answer.locator('.text').textContent()).toContain(result)
      await page.getByRole('button', { name: 'Send' }).waitFor()
    }
    expect(await page.locator('.turns').textContent()).toContain('42')

    // A message that is taken back while it is answered takes its answer with it.
    server.set({ stallMidStreamAfter: 1 })
    await prompt.fill('8 * 8')
    await page.getByRole('button', { name: 'Send' }).click()
    await expect.poll(() => page.locator('.turns li').count()).toBe(5)
    await expect.poll(() => answer.locator('.text').textContent()).toMatch(/^\S+$/)
    await page.getByRole('button', { name: 'Edit' }).last().click()
    await expect.poll(() => server.inFlight).toBe(0)
    await drawn(page)
    expect(await answer.count()).toBe(0)
    server.set({ stallMidStreamAfter: null })
    await prompt.fill('9 * 9')
    await page.getByRole('button', { name: 'Send' }).click()
    await expect.poll(() => answer.locator('.text').textContent()).toContain('81')
    const body = server.requests.findLast(({ path }) => path === '/v1/chat/completions')?.body
    const { messages } = (typeof body === 'string' ? JSON.parse(body) : body) as {
      messages: readonly { role: string; content: string }[]
    }
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant', 'user'])
    expect(messages.at(-1)?.content).toBe('9 * 9')
    await page.getByRole('button', { name: 'New', exact: true }).click()
    await page.locator('.turns').waitFor({ state: 'detached' })

    // What a model is for is told from its name.
    await page.getByRole('radio', { name: /bge-m3/ }).click()
    await expect.poll(() => page.evaluate(() => location.hash)).toBe('#/try/quick%2Fbge-m3')
    await page.getByRole('textbox', { name: 'Texts, one on each line' }).fill('a cat\na cat\na house')
    await page.getByRole('button', { name: 'Send' }).click()
    await expect.poll(() => answer.locator('tbody tr').count()).toBe(3)
    expect(await answer.locator('tbody tr').nth(1).textContent()).toContain('1.000')
    await page.getByRole('radio', { name: /bge-reranker/ }).click()
    await page.getByRole('textbox', { name: 'Query' }).fill('pets')
    await page.getByRole('textbox', { name: 'Documents, one on each line' }).fill('a cat\na house')
    await page.getByRole('button', { name: 'Send' }).click()
    await expect.poll(() => answer.locator('tbody tr').count()).toBe(2)
    expect(stage.complaints).toEqual([])
    await server.close()
  })

  test('shows the Markdown of an answer, and none of its HTML', { timeout: 240_000 }, async () => {
    const text =
      '# Cats\n\nThey **purr**, `meow` and <img src=x onerror="window.owned=1">\n- [more](https://e.org)\n\n```js\nlet a = 1\n```'
    const server = createServer((request, response) => {
      if (request.method === 'GET')
        return response.end(JSON.stringify({ object: 'list', data: [{ id: 'm' }] }))
      request.resume()
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const part = { choices: [{ index: 0, delta: { content: text }, finish_reason: null }] }
      response.end(`data: ${JSON.stringify(part)}\n\ndata: [DONE]\n\n`)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await using stage = await openStage({
      providers: { quick: { baseUrl: `http://127.0.0.1:${port}/v1`, models: [{ id: 'm' }] } },
    })
    const { page, url, complaints } = stage
    await page.goto(`${url}/#/try`)
    await page.getByRole('textbox', { name: 'Prompt', exact: true }).fill('cats?')
    await page.getByRole('button', { name: 'Send' }).click()
    const answer = page.getByRole('group', { name: 'Answer' })
    await answer.locator('.h1', { hasText: /^Cats$/ }).waitFor()
    expect(await answer.locator('strong').allTextContents()).toEqual(['purr'])
    expect(await answer.locator('code').allTextContents()).toEqual(['meow'])
    expect(await answer.locator('pre').allTextContents()).toEqual(['let a = 1'])
    expect(await answer.textContent()).toContain('<img src=x onerror="window.owned=1">')
    expect(await answer.locator('img, a').count()).toBe(0)
    await expectFit(page, 'try')
    expect(await page.evaluate(() => 'owned' in window)).toBe(false)
    expect(complaints).toEqual([])
    server.close()
    server.closeAllConnections()
  })

  test('asks several models the same at once, and stops all of them', { timeout: 240_000 }, async () => {
    const server = createModelServer({ models: ['m'] })
    const { url: serverUrl } = await server.listen()
    const models = ['one', 'two', 'three'].map((id) => ({ id }))
    await using stage = await openStage({ providers: { quick: { baseUrl: `${serverUrl}/v1`, models } } })
    const { page, url } = stage
    await page.goto(`${url}/#/try/quick%2Fone`)
    await page.getByText('Ask others at once').click()
    await page.getByRole('checkbox', { name: 'quick/two' }).check()
    await page.getByRole('checkbox', { name: 'quick/three' }).check()
    const answers = [
      page.getByRole('group', { name: 'Answer', exact: true }),
      page.getByRole('group', { name: 'Answer of quick/two' }),
      page.getByRole('group', { name: 'Answer of quick/three' }),
    ]
    const prompt = page.getByRole('textbox', { name: 'Prompt', exact: true })
    await prompt.fill('6 * 7')
    await page.getByRole('button', { name: 'Send' }).click()
    for (const answer of answers)
      await expect.poll(() => answer.locator('.text').textContent()).toContain('42')
    await expectFit(page)
    server.set({ hang: true })
    await prompt.fill('7 * 7')
    await page.getByRole('button', { name: 'Send' }).click()
    await expect.poll(() => server.inFlight).toBe(3)
    await page.getByRole('button', { name: 'Stop', exact: true }).click()
    await expect.poll(() => server.inFlight).toBe(0)
    for (const answer of answers) await answer.getByText('Stopped.').waitFor()
    expect(stage.complaints).toEqual([])
    await server.close()
  })

  test('makes an image and speech, and writes down what a recording says', { timeout: 240_000 }, async () => {
    const server = createModelServer({ models: ['m'] })
    const { url: serverUrl } = await server.listen()
    const names = ['flux-dev', 'kokoro', 'whisper-large']
    await using stage = await openStage({
      providers: { quick: { baseUrl: `${serverUrl}/v1`, models: names.map((id) => ({ id })) } },
    })
    const { page, url } = stage
    await page.goto(`${url}/#/try`)
    const answer = page.getByRole('group', { name: 'Answer' })
    const send = page.getByRole('button', { name: 'Send' })
    const bodyOf = (path: string) => {
      const body = server.requests.findLast((one) => one.path === path)?.body
      return typeof body === 'string' ? JSON.parse(body) : body
    }
    const code = page.locator('.code')

    // What a model is for is told from its name.
    await page.getByRole('radio', { name: /flux-dev/ }).click()
    await page.getByRole('textbox', { name: 'What it shows' }).fill('a cat')
    await page.getByText('Settings').click()
    await page.getByRole('textbox', { name: /^Size/ }).fill('512x512')
    await send.click()
    const picture = answer.getByRole('img', { name: 'The answer' })
    await expect.poll(() => picture.evaluate((img) => (img as HTMLImageElement).naturalWidth)).toBe(1)
    expect(bodyOf('/v1/images/generations')).toEqual({
      model: 'flux-dev',
      prompt: 'a cat',
      size: '512x512',
      response_format: 'b64_json',
    })
    expect(await code.textContent()).toContain('/v1/images/generations')

    await page.getByRole('radio', { name: /kokoro/ }).click()
    await page.getByRole('textbox', { name: 'What it says' }).fill('meow')
    await send.click()
    const sound = answer.locator('audio')
    await expect.poll(() => sound.evaluate((audio) => (audio as HTMLAudioElement).duration)).toBeCloseTo(0.1)
    expect(bodyOf('/v1/audio/speech')).toEqual({ model: 'kokoro', input: 'meow' })
    expect(await code.textContent()).toContain('--output speech.mp3')
    expect(await listViolations(page)).toEqual([])

    await page.getByRole('radio', { name: /whisper-large/ }).click()
    await expect.poll(() => send.isDisabled()).toBe(true)
    await page
      .getByLabel('Sound')
      .setInputFiles({ name: 'speech.wav', mimeType: 'audio/wav', buffer: Buffer.from('RIFF') })
    await send.click()
    await expect.poll(() => answer.locator('.text').textContent()).toContain('speech.wav: 4 bytes')
    expect(await code.textContent()).toContain('-F file=@speech.wav')
    for (const language of ['Python', 'TypeScript']) {
      await page.getByRole('button', { name: language }).click()
      expect(await code.textContent()).toContain('client.audio.transcriptions.create(')
    }
    expect(stage.complaints).toEqual([])
    await server.close()
  })

  test('shows the same request for a program, without the prompt', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url } = stage
    await page.goto(`${url}/#/try/chat`)
    await page.getByRole('textbox', { name: 'Prompt', exact: true }).fill('a secret')
    const code = page.locator('.code')
    expect(await code.textContent()).toContain(`curl ${url}/v1/chat/completions`)
    await page.getByRole('button', { name: 'Python' }).click()
    expect(await code.textContent()).toContain('from openai import OpenAI')
    await page.getByRole('button', { name: 'TypeScript' }).click()
    expect(await code.textContent()).toContain("import OpenAI from 'openai'")
    expect(await code.textContent()).toContain('"chat/m"')
    expect(await code.textContent()).not.toContain('secret')
  })
})
