// Prints as many bytes as it is told, in lines of all lengths, with secrets at random places.
// Run: node flood.mjs BYTES SECRETS
import { writeSync } from 'node:fs'

const [bytes, secrets] = [Number(process.argv[2]), JSON.parse(process.argv[3])]
const words =
  'slot update_slots: prompt eval time = 812.5 ms / 96 tokens, srv params_from_: Chat format: Hermes'
let text = ''
while (text.length < 1e6) {
  const length = Math.random() < 0.01 ? 20_000 : Math.floor(Math.random() * 200)
  const secret =
    secrets.length > 0 && Math.random() < 0.05 ? secrets[Math.floor(Math.random() * secrets.length)] : ''
  const at = Math.floor(Math.random() * length)
  const line = words.repeat(Math.ceil(length / words.length) || 1).slice(0, length)
  text += `${line.slice(0, at)}${secret}${line.slice(at)}\n`
}
const block = Buffer.from(text)
for (let sent = 0; sent < bytes; ) {
  // Pieces of no particular size, so that a pipe cuts anywhere.
  const piece = block.subarray(sent % 7_919, Math.min(block.length, (sent % 7_919) + bytes - sent))
  sent += write(piece)
}

function write(piece) {
  for (;;)
    try {
      return writeSync(1, piece)
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
}
