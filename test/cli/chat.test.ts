import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createPlace, program } from './command-line.ts'

const hasScript = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0

describe('leasehold chat', { timeout: 120_000 }, () => {
  test('answers each line, remembers what was said, and goes on after a failure', async () => {
    await using place = await createPlace()
    place.configure()
    const run = place.startWithInput('chat', 'sums')
    run.child.stdin?.write('What is 17 * 3?\n')
    await run.until(/51/)
    run.child.stdin?.end('\n/new\nWhat is 2 + 2?\n')
    const { code, stdout } = await run.ended
    expect(code).toBe(0)
    expect(stdout.trim().split('\n')).toHaveLength(2)
    expect(stdout).toMatch(/51[\s\S]*4/)
    await expect.poll(place.strays).toEqual([])
  })

  test('fails where a question of a script was not answered', async () => {
    await using place = await createPlace()
    place.configure()
    const run = place.startWithInput('chat', 'absent')
    run.child.stdin?.end('What is 2 + 2?\n')
    const { code, stderr } = await run.ended
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('absent') })
  })

  test('a word with a slash alone is a command, and no unknown one is sent', async () => {
    await using place = await createPlace()
    place.configure()
    const run = place.startWithInput('chat', 'sums')
    run.child.stdin?.write(
      '/help\n/hlep \n//what\n /why\n/etc/hosts\nWhat is 17 * 3?\n/exit\nWhat is 2 + 2?\n',
    )
    // The input goes on: /exit ends the conversation.
    const { code, stdout, stderr } = await run.ended
    expect(stderr).toMatch(/^\/exit +ends the conversation/m)
    expect(stderr).toMatch(/^\/hlep is not a command and was not sent;.* To send it: \/\/hlep$/m)
    expect(code).toBe(1)
    const answers = stdout.trim().split('\n')
    expect(answers).toHaveLength(4)
    expect(answers[3]).toContain('51')
    await expect.poll(place.strays).toEqual([])
  })

  test.runIf(hasScript)('Ctrl-C ends an answer, and at the prompt the conversation', async () => {
    await using place = await createPlace()
    place.configure(['--token-delay-ms', '300'])
    const terminal = spawn('script', ['-qec', `${process.execPath} ${program} chat sums`, '/dev/null'], {
      cwd: place.folder,
      env: {
        PATH: process.env.PATH,
        HOME: place.folder,
        XDG_STATE_HOME: `${place.folder}/state`,
        TERM: 'xterm',
      },
    })
    onTestFinished(() => void terminal.kill('SIGKILL'))
    let text = ''
    terminal.stdout.on('data', (chunk) => {
      text += chunk
    })
    await expect.poll(() => text).toMatch(/> /)
    terminal.stdin.write('Count to 60.\r')
    await expect.poll(() => text, { timeout: 60_000 }).toMatch(/1 2/)
    terminal.stdin.write('\x03')
    await expect.poll(() => text).toMatch(/interrupted/)
    terminal.stdin.write('What is 17 * 3?\r')
    await expect.poll(() => text, { timeout: 60_000 }).toMatch(/51[\s\S]*tokens\/s, first token after/)
    terminal.stdin.write('\x03')
    const [code] = await once(terminal, 'exit')
    expect(code).toBe(0)
    await expect.poll(place.strays).toEqual([])
  })
})

test('stop --all stops every service, and says which', { timeout: 60_000 }, async () => {
  await using place = await createPlace()
  place.configure()
  const gateway = place.start('serve')
  await gateway.until(/page/)
  await place.run('start', 'demo')
  expect(await place.run('stop', '--all')).toMatchObject({ code: 0, stdout: 'demo is down\n' })
  expect(await place.run('stop', '--all')).toMatchObject({ code: 0, stdout: 'No service was running.\n' })
  expect(await place.run('stop')).toMatchObject({ code: 2, stderr: expect.stringContaining('--all') })
  gateway.child.kill('SIGTERM')
  expect((await gateway.ended).code).toBe(0)
})
