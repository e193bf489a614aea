import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { buildChildEnvironment } from '../../src/process/environment.ts'

const host = {
  PATH: '/bin',
  HOME: '/home/me',
  LC_ALL: 'C',
  XDG_CACHE_HOME: '/cache',
  CUDA_VISIBLE_DEVICES: '0',
  HF_HOME: '/hf',
  LD_LIBRARY_PATH: '/lib',
  ABSENT: undefined,
  NODE_OPTIONS: '--inspect',
  LLAMA_ARG_PORT: '1',
  LLAMA_API_KEY: 'canary-1',
  HF_TOKEN: 'canary-2',
  OPENAI_API_KEY: 'canary-3',
  NVIDIA_API_KEY: 'canary-4',
  AWS_SECRET_ACCESS_KEY: 'canary-5',
  XDG_SECRET: 'canary-6',
  cuda_token: 'canary-7',
  LEASEHOLD_OWNER: 'another table',
  DYLD_INSERT_LIBRARIES: '/evil',
}

describe('the environment of a child', () => {
  test('holds what is allowed and nothing else', () => {
    expect(buildChildEnvironment({ host, markers: {} })).toEqual({
      PATH: '/bin',
      HOME: '/home/me',
      LC_ALL: 'C',
      XDG_CACHE_HOME: '/cache',
      CUDA_VISIBLE_DEVICES: '0',
      HF_HOME: '/hf',
      LD_LIBRARY_PATH: '/lib',
    })
  })

  test('holds what is named, whatever its name', () => {
    const named = buildChildEnvironment({
      host,
      inheritEnv: ['HF_TOKEN', 'NODE_OPTIONS', 'ABSENT', 'UNKNOWN'],
      markers: {},
    })
    expect(named).toMatchObject({ HF_TOKEN: 'canary-2', NODE_OPTIONS: '--inspect' })
    expect(named).not.toHaveProperty('ABSENT')
    expect(named).not.toHaveProperty('UNKNOWN')
  })

  test('prefers what is set to what is inherited, and the markers to both', () => {
    const env = { PATH: '/opt', LLAMA_API_KEY: 'set', MARK: 'forged' }
    expect(
      buildChildEnvironment({
        host,
        env,
        inheritEnv: ['LEASEHOLD_OWNER'],
        markers: { MARK: '1', LEASEHOLD_OWNER: 'us' },
      }),
    ).toMatchObject({
      PATH: '/opt',
      LLAMA_API_KEY: 'set',
      MARK: '1',
      LEASEHOLD_OWNER: 'us',
    })
  })

  test('never holds a host variable that looks like a secret and is not named', () => {
    const prefix = fc.constantFrom('', 'CUDA_', 'XDG_', 'LC_', 'HF_HUB_', 'NVIDIA_', 'MY_')
    const word = fc.constantFrom('KEY', 'TOKEN', 'SECRET', 'PASSWORD', 'api_key', 'CREDENTIALS')
    const suffix = fc.constantFrom('', '_1', '_FILE')
    fc.assert(
      fc.property(prefix, word, suffix, (...parts) => {
        expect(buildChildEnvironment({ host: { [parts.join('')]: 'canary' }, markers: {} })).toEqual({})
      }),
    )
  })

  test('takes __proto__ for a name like any other', () => {
    const env = JSON.parse('{ "__proto__": "x" }')
    expect(Object.keys(buildChildEnvironment({ host: {}, env, markers: {} }))).toEqual(['__proto__'])
  })
})
