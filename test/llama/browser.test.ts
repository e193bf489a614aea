// @module-tag proof

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CHROMIUM, hasNoBrowser } from '../inspector/page/browser.ts'
import { countText, createLlama, describeWithLlama, question } from './llama-server.ts'

describeWithLlama('a real llama-server', () => {
  describe.skipIf(hasNoBrowser)('for a page in a real browser', () => {
    let browser: Browser
    const site = createServer((_, response) =>
      response.setHeader('content-type', 'text/html').end('<body></body>'),
    )

    beforeAll(async () => {
      site.listen(0, '127.0.0.1')
      await once(site, 'listening')
      browser = await chromium.launch({
        executablePath: CHROMIUM,
        args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-sync'],
      })
    }, 120_000)
    afterAll(async () => {
      await browser?.close()
      site.closeAllConnections()
      site.close()
    })

    /** Asks for a stream as a web app does, and reads it piece by piece. */
    const chat = async (gateway: string, from: string) => {
      const page = await browser.newPage()
      await page.goto(from)
      const read = await page.evaluate(
        async ({ url, body }) => {
          try {
            const response = await fetch(url, {
              method: 'POST',
              headers: { 'content-type': 'application/json', authorization: 'Bearer unused' },
              body,
            })
            const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
            let text = ''
            for (let part = await reader?.read(); part?.done === false; part = await reader?.read())
              text += part.value
            return { text, headers: Object.fromEntries(response.headers) }
          } catch (error) {
            return String(error)
          }
        },
        {
          url: `${gateway}/chat/completions`,
          body: JSON.stringify({ ...question, stream: true, store: true }),
        },
      )
      await page.close()
      return read
    }

    test('streams to an origin that is listed, and to no other, whatever the server says of origins (fault 113)', async () => {
      const { port } = site.address() as AddressInfo
      const listed = `http://localhost:${port}`
      await using llama = await createLlama({ leasehold: { allowedOrigins: [listed] } })
      const gateway = llama.openai.gateway.baseURL
      const read = await chat(gateway, listed)
      if (typeof read === 'string') throw new Error(`The page could not read the answer: ${read}`)
      const content = [...read.text.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text)
      expect(content.join('')).toBe(countText)
      expect(read.text).toMatch(/data: \[DONE\]\s*$/)
      expect(read.headers).toMatchObject({
        'x-leasehold-model': 'llama/demo',
        'x-leasehold-dropped': 'store',
      })
      // What would overwrite the gateway's own word.
      const direct = await fetch(`${llama.serverUrl}/health`)
      expect(direct.headers.has('access-control-allow-origin')).toBe(true)

      expect(await chat(gateway, `http://127.0.0.1:${port}`)).toBe('TypeError: Failed to fetch')
      expect(llama.all('request.started')).toHaveLength(1)
    }, 120_000)
  })
})
