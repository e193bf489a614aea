// @module-tag proof

import { describe, expect, test } from 'vitest'
import { hasNoBrowser, inState, openStage, toService } from './browser.ts'

/** What a hostile server may print, name itself in, or die with. */
// biome-ignore-start lint/suspicious/noTemplateCurlyInString: a template is one of the things they try
const CORPUS = [
  '<script>window.owned = 1</script>',
  '<img src=x onerror="window.owned = 1">',
  '<svg/onload=window.owned=1>',
  '"><iframe src="javascript:window.owned=1"></iframe>',
  "'-alert(1)-' ${window.owned=1} {{constructor.constructor('window.owned=1')()}}",
  '</pre></span><style>*{display:none}</style>',
  '<a href="javascript:window.owned=1">click</a>',
  '<form action="https://evil.example"><input name=q autofocus onfocus=window.owned=1>',
  '<meta http-equiv="refresh" content="0;url=https://evil.example">',
  '<base href="https://evil.example/"><link rel=stylesheet href=//evil.example/x.css>',
  '&lt;script&gt;window.owned=1&lt;/script&gt;',
  '\u001b[31mred\u001b[0m \u001b]0;title\u0007 \u202Egnp.exe',
]
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: see above

describe.skipIf(hasNoBrowser)('the page', () => {
  test('shows what a hostile server prints as text, and nothing of it happens (fault 116)', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({
      steered: { chat: { lines: CORPUS } },
      leasehold: { backoffMs: 60_000 },
    })
    const { page, url, steered } = stage
    const elsewhere: string[] = []
    page.on('request', (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith('data:')) elsewhere.push(request.url())
    })
    page.on('dialog', (dialog) => {
      elsewhere.push(dialog.message())
      void dialog.dismiss()
    })
    await page.goto(toService(url, 'chat'))
    const asking = stage.ask('chat')
    await inState(page, 'starting.warming')
    await expect.poll(() => page.locator('.output pre').textContent()).toContain('gnp.exe')
    const printed = (await page.locator('.output pre').textContent()) ?? ''
    for (const line of CORPUS.slice(0, -1)) expect(printed).toContain(line)
    expect(await page.locator('.output .sgr-red').textContent()).toBe('red')
    for (const control of ['\u001b', '\u0007', '\u202E']) expect(printed).not.toContain(control)
    // It dies with the same words: they come as the tail of a failure, and inside of a reason.
    await steered.chat?.steer('exit=1')
    await asking.then((answer) => answer.text())
    await page.getByRole('heading', { name: 'Failed', level: 2 }).waitFor()
    expect(await page.locator('.why').textContent()).toContain('exited with code 1')

    expect(await page.evaluate(() => 'owned' in window)).toBe(false)
    expect(
      await page
        .locator('#page script, #page iframe, #page form, #page style, #page meta, #page base')
        .count(),
    ).toBe(0)
    expect(await page.locator('.output').isVisible()).toBe(true)
    expect(new URL(page.url()).origin).toBe(url)
    expect(elsewhere).toEqual([])
    expect(stage.complaints).toEqual([])
  })

  test('is sent with a policy that allows only what it is made of', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url } = stage
    const response = await page.goto(url)
    const headers = response?.headers() ?? {}
    expect(headers['content-security-policy']).toMatch(
      /^default-src 'none'; script-src 'sha256-[^' ]+' 'sha256-[^' ]+' 'sha256-[^' ]+'; /,
    )
    expect(headers['content-security-policy']).not.toMatch(/unsafe|https:|\*/)
    expect(headers['x-content-type-options']).toBe('nosniff')
    await page.locator('tr.one').waitFor()
    const refused = await page.evaluate(() => {
      const script = document.createElement('script')
      script.textContent = 'window.owned = 1'
      document.body.append(script)
      return !('owned' in window)
    })
    expect(refused).toBe(true)
  })
})
