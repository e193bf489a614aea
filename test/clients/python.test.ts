// @module-tag proof
import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { openDoors } from './doors.ts'

const execute = promisify(execFile)

/** The Python with the clients: that of `$LEASEHOLD_PYTHON`, else the one that `setup-python.sh` made, else the host's. */
const python = process.env.LEASEHOLD_PYTHON ?? findPython()

function findPython(): string {
  const made = fileURLToPath(new URL('../../.cache/python/bin/python', import.meta.url))
  return existsSync(made) ? made : 'python3'
}

/** `test`, for a client that Python can import; otherwise it is skipped, and its title says so. */
function testWith(module: string) {
  const look = `import importlib.util, sys; sys.exit(importlib.util.find_spec('${module}') is None)`
  const isThere = spawnSync(python, ['-c', look]).status === 0
  const skipped = (title: string, run: () => Promise<void>) =>
    test.skip(`${title} (Python has no ${module}; test/clients/setup-python.sh gets it)`, run)
  return isThere
    ? (title: string, run: () => Promise<void>) => test(title, { timeout: 240_000 }, run)
    : skipped
}

/** Runs a program that gets the URL of the gateway and prints one JSON document. */
async function runPython(program: string, url: string) {
  const env = { ...process.env, LITELLM_LOCAL_MODEL_COST_MAP: 'True', NO_PROXY: '127.0.0.1' }
  const { stdout } = await execute(python, ['-c', program, url], { env })
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
}

const WEATHER = `
weather = {'type': 'function', 'function': {'name': 'weather', 'description': 'The weather of a place.', 'parameters': {
    'type': 'object', 'properties': {'place': {'type': 'string'}}, 'required': ['place']}}}
question = {'role': 'user', 'content': 'What is the weather in Lisbon? Call the tool.'}
messages = [{'role': 'user', 'content': 'What is 17 * 3?'}]
`

testWith('ollama')(
  'Python’s ollama chats, calls tools, embeds, lists and unloads, from a cold start on',
  async () => {
    await using doors = await openDoors()
    expect(doors.service().state).toBe('down.cold')
    const program = `
import json, sys
from ollama import Client, ResponseError
${WEATHER}
client = Client(host=sys.argv[1])
name = client.list().models[0].model
cold = client.chat(model=name, messages=messages, keep_alive='20m')
parts = list(client.chat(model=name, messages=messages, stream=True, options={'temperature': 0}))
called = client.chat(model=name, messages=[question], tools=[weather])
answered = client.chat(model=name, tools=[weather], messages=[
    question, called.message, {'role': 'tool', 'tool_name': 'weather', 'content': 'rain'}])
try:
    client.chat(model='absent', messages=messages)
    missing = None
except ResponseError as error:
    missing = [error.status_code, error.error]
running = client.ps().models
print(json.dumps({
    'cold': cold.message.content,
    'streamed': ''.join(part.message.content or '' for part in parts),
    'done': [part.done for part in parts][-1],
    'calls': [[call.function.name, dict(call.function.arguments)] for call in called.message.tool_calls],
    'answered': answered.done,
    'generated': client.generate(model=name, prompt='What is 2 + 2?').response,
    'vectors': [len(vector) > 0 for vector in client.embed(model=name, input=['one', 'two']).embeddings],
    'capabilities': client.show(name).capabilities,
    'running': [one.model for one in running],
    'missing': missing,
    'unloaded': client.generate(model=name, prompt='', keep_alive=0).done_reason,
}))`
    expect(await runPython(program, doors.url)).toEqual({
      cold: '17 * 3 = 51.',
      streamed: '17 * 3 = 51.',
      done: true,
      calls: [['weather', expect.any(Object)]],
      answered: true,
      generated: '2 + 2 = 4.',
      vectors: [true, true],
      capabilities: ['completion', 'tools'],
      running: ['demo/demo'],
      missing: [404, expect.stringContaining('There is no model "absent"')],
      unloaded: 'unload',
    })
    expect(doors.library.all('lease.granted').some(({ keepAliveMs }) => keepAliveMs === 1_200_000)).toBe(true)
    expect(doors.service().state).toBe('down.cold')
  },
)

testWith('litellm')(
  'litellm’s ollama_chat chats, streams and calls tools, from a cold start on',
  async () => {
    await using doors = await openDoors()
    expect(doors.service().state).toBe('down.cold')
    const program = `
import json, sys
import litellm
${WEATHER}
ask = {'model': 'ollama_chat/demo', 'api_base': sys.argv[1], 'messages': messages}
cold = litellm.completion(**ask)
parts = list(litellm.completion(**ask, stream=True))
called = litellm.completion(**{**ask, 'messages': [question]}, tools=[weather])
print(json.dumps({
    'cold': cold.choices[0].message.content,
    'counts': cold.usage.completion_tokens > 0,
    'streamed': ''.join(part.choices[0].delta.content or '' for part in parts),
    'calls': [call.function.name for call in called.choices[0].message.tool_calls or []],
}))`
    expect(await runPython(program, doors.url)).toEqual({
      cold: '17 * 3 = 51.',
      counts: true,
      streamed: '17 * 3 = 51.',
      calls: ['weather'],
    })
    expect(doors.library.all('process.spawned')).toHaveLength(1)
  },
)
