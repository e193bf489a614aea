// Pages that are open: each follows what the page follows, reads it as it comes, and asks what the page asks.
import { Agent, get } from 'node:http'
import { options, serveParent } from './parent.mjs'

const STREAM = '/api/events?last=4096&requestsPerSecond=10'
/** Followed by its view of the machines only. */
const MACHINES = '/api/inspect'
const QUESTIONS = ['/api/services', '/api/requests']
/** How often a page asks while something happens, in milliseconds. */
const ASK_MS = 500

const agent = new Agent({ keepAlive: true })
let open = []
let messages = 0

/**
 * `{ pages, view }`: so many from now on, at the overview or at the `machines`. Answers, once they are served, with
 * what those before were told.
 */
async function show({ pages, view }) {
  for (const leave of open) leave()
  open = []
  const told = messages
  messages = 0
  for (let page = 0; page < pages; page += 1) {
    for (const path of view === 'machines' ? [STREAM, MACHINES] : [STREAM]) open.push(await follow(path))
    const asking = setInterval(() => QUESTIONS.forEach(ask), ASK_MS)
    open.push(() => clearInterval(asking))
  }
  return { messages: told }
}

function follow(path) {
  return new Promise((resolve, reject) => {
    const request = get({ port: options.port, path, headers: options.headers, agent: false }, (response) => {
      response.setEncoding('utf8')
      response.on('data', (text) => {
        messages += text.split('\n\n').length - 1
      })
      response.once('error', () => {})
      resolve(() => request.destroy())
    })
    request.once('error', reject)
  })
}

function ask(path) {
  get({ port: options.port, path, headers: options.headers, agent }, (response) => response.resume()).once(
    'error',
    () => {},
  )
}

serveParent({}, show)
