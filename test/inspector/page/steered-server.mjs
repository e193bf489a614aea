#!/usr/bin/env node
// A model server that does nothing by itself: it loads, answers, prints and ends when a test says so, at /steer.
// Run: node steered-server.mjs PORT [LINE …], which prints the lines at its start.
import { createServer } from 'node:http'

const [port, ...lines] = process.argv.slice(2)
let isReady = false
const waiting = []
const answer = (response) => {
  response.end(JSON.stringify({ id: 'a', object: 'chat.completion', choices: [] }))
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://server')
  if (pathname === '/steer') {
    if (searchParams.has('ready')) isReady = true
    if (searchParams.has('print')) console.log(searchParams.get('print'))
    if (searchParams.has('answer')) for (const one of waiting.splice(0)) answer(one)
    if (searchParams.has('exit')) process.exit(Number(searchParams.get('exit')))
    return response.end('ok')
  }
  if (pathname === '/health') {
    response.statusCode = isReady ? 200 : 503
    return response.end(isReady ? 'ok' : 'Loading model')
  }
  response.writeHead(200, { 'content-type': 'application/json' })
  request.resume()
  request.on('end', () => waiting.push(response))
})
server.listen(Number(port), '127.0.0.1', () => {
  for (const line of lines) console.log(line)
})
process.on('SIGTERM', () => process.exit(0))
