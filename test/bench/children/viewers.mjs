// Pages that are open: each follows what the page follows, and reads it as it comes.
import { get } from 'node:http'
import { options, serveParent } from './parent.mjs'

const STREAMS = ['/api/inspect', '/api/events?last=4096']

let open = []
let messages = 0

/** `{ pages }`: so many from now on. Answers, once they are served, with what those before were told. */
async function show({ pages }) {
  for (const request of open) request.destroy()
  open = []
  const told = messages
  messages = 0
  for (let page = 0; page < pages; page += 1) for (const path of STREAMS) open.push(await follow(path))
  return { messages: told }
}

function follow(path) {
  return new Promise((resolve, reject) => {
    const request = get({ port: options.port, path, agent: false }, (response) => {
      response.setEncoding('utf8')
      response.on('data', (text) => {
        messages += text.split('\n\n').length - 1
      })
      response.once('error', () => {})
      resolve(request)
    })
    request.once('error', reject)
  })
}

serveParent({}, show)
