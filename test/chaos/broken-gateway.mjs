#!/usr/bin/env node
// Stands in for `leasehold serve` to test the test: passes requests on to one demo server, and does what its first
// argument says wrong. Honest, it must pass; each of the others must be found out.
//   honest          does nothing wrong
//   truncates       ends every 7th answer in the middle, cleanly
//   doubles         repeats a piece of every 7th answer
//   swaps           answers every 7th request with the answer of the one before
//   repeats         sends every 7th request twice, and answers with the second answer
//   invents         answers every 7th request itself
//   swallows        answers every 7th request with a clean end and nothing else
//   cuts            cuts every 7th stream in the middle, without an error event
//   orphans         leaves its server behind when it is killed, and when it ends
//   litters         leaves a file
//   dies            ends by itself after 40 requests
//   fails           ends with 1 on SIGTERM
//   murders         kills the server that is not its own
//   misroutes       sends every 7th request to the server that is not its own
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, request as open } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isListening, lookUntil } from './processes.mjs'
import { OUTSIDE } from './services.mjs'

const mischief = process.argv.at(-1)
const config = JSON.parse(readFileSync(process.argv[process.argv.indexOf('--config') + 1], 'utf8'))
const { alpha, [OUTSIDE]: outside } = config.models.providers
const { command, args } = alpha.localService
const own = new URL(alpha.baseUrl).port
const strange = new URL(outside.baseUrl).port

const server = spawn(command, args, { detached: true, stdio: 'ignore' })
// Of the honest, the server ends with the pipe that only they hold open.
const watchdog =
  mischief === 'orphans'
    ? undefined
    : spawn(
        process.execPath,
        ['-e', `process.stdin.resume().on('end', () => process.kill(${server.pid}, 'SIGKILL'))`],
        {
          stdio: ['pipe', 'ignore', 'ignore'],
          detached: true,
        },
      )
await lookUntil(() => isListening(own), 20_000)
if (mischief === 'litters') writeFileSync(join(tmpdir(), 'leasehold-left'), '')
if (mischief === 'murders') {
  const { pid } = await (await fetch(`http://127.0.0.1:${strange}/__control`)).json()
  process.kill(pid, 'SIGKILL')
}

let requests = 0
/** The answer before this one. */
let last

createServer(async (request, response) => {
  const chunks = []
  try {
    for await (const chunk of request) chunks.push(chunk)
  } catch {
    return
  }
  requests += 1
  const isChosen = requests % 7 === 0
  if (mischief === 'dies' && requests === 40) process.exit(3)
  if (request.url.startsWith('/api/')) return response.end('{"services":[]}')
  const body = Buffer.concat(chunks)
  if (isChosen && mischief === 'swallows') return response.end()
  if (isChosen && mischief === 'invents') return response.end(await toInvention(request, body))
  const wanted = JSON.parse(body).model ?? ''
  const port = isChosen && mischief === 'misroutes' ? strange : wanted.startsWith(OUTSIDE) ? strange : own
  if (isChosen && mischief === 'repeats') await pass(port, request, body)
  const answer = await pass(port, request, body)
  if (answer === undefined) return response.writeHead(502).end('{"error":{"code":"BROKEN"}}')
  const told = isChosen && mischief === 'swaps' ? (last ?? answer) : answer
  last = answer
  response.writeHead(told.status, { 'content-type': told.type })
  const middle = Math.floor(answer.body.length / 2)
  const half = answer.body.subarray(0, middle)
  if (isChosen && mischief === 'truncates') return response.end(half)
  if (isChosen && mischief === 'cuts') return response.write(half, () => response.destroy())
  if (isChosen && mischief === 'doubles') response.write(half)
  response.end(told.body)
}).listen(0, '127.0.0.1', function () {
  console.log(`http://127.0.0.1:${this.address().port}`)
})

process.on('SIGTERM', () => {
  if (mischief !== 'orphans') server.kill('SIGKILL')
  watchdog?.kill('SIGKILL')
  process.exit(mischief === 'fails' ? 1 : 0)
})

/** One request to a server, and its whole answer; absent when there is none. */
function pass(port, { headers }, body) {
  return new Promise((resolve) => {
    const sent = { method: 'POST', port, path: '/v1/chat/completions', agent: false }
    const nonce = headers['x-demo-nonce']
    open({ ...sent, headers: { 'x-demo-nonce': nonce, 'content-length': body.length } }, async (incoming) => {
      const chunks = []
      try {
        for await (const chunk of incoming) chunks.push(chunk)
        resolve({
          status: incoming.statusCode,
          type: incoming.headers['content-type'],
          body: Buffer.concat(chunks),
        })
      } catch {
        resolve(undefined)
      }
    })
      .once('error', () => resolve(undefined))
      .end(body)
  })
}

/** The right answer, without a server. */
function toInvention({ headers }, body) {
  const { messages } = JSON.parse(body)
  const count = Number(/\d+/.exec(messages.at(-1).content)[0])
  const content = Array.from({ length: count }, (_, index) => index + 1).join(' ')
  const choices = [{ message: { content }, finish_reason: 'stop' }]
  return JSON.stringify({ id: `chatcmpl-${headers['x-demo-nonce']}`, choices })
}
