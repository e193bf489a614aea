import { expect, test } from 'vitest'
import type { LeftServer } from '../../src/process/reaping.ts'
import type { Service } from '../../src/service/services.ts'
import { createLeftServers, findServiceOf } from '../../src/supervisor/left-servers.ts'

const open = () =>
  createLeftServers(() => ({
    limits: { vramMiB: 24, ramMiB: 8 },
    shares: {
      small: { service: 'small', needs: { vramMiB: 6 }, unmeasured: [] },
      other: { service: 'other', needs: { vramMiB: 6 }, unmeasured: [] },
      elsewhere: { service: 'elsewhere', needs: { ramMiB: 8 }, unmeasured: [] },
      guessed: { service: 'guessed', needs: {}, unmeasured: ['vramMiB'] },
    } as never,
    residents: [],
  }))
const toLeft = (needs?: LeftServer['needs']): LeftServer => ({
  key: 'box',
  problem: 'it cannot be asked',
  file: 'owner.json',
  ...(needs === undefined ? {} : { needs }),
})
const toService = (key: string, drawsOnLimits = true) =>
  ({ key, healthUrl: `http://${key}/health`, policy: { drawsOnLimits } }) as Service

test('a server of an old record, which does not say what it holds, is beside no service with a budget', () => {
  const { findInTheWay } = open()
  const left = [toLeft()]
  expect(findInTheWay(left, toService('elsewhere'))).toBe(left[0])
  expect(findInTheWay(left, toService('free', false))).toBeUndefined()
  expect(findInTheWay(left, toService('box', false))).toBe(left[0])
  expect(findInTheWay([], toService('small'))).toBeUndefined()
})

test('a server that is told with its parts of budgets is beside what fits, one after the other', () => {
  const { findInTheWay, forget } = open()
  const left = [toLeft({ vramMiB: 12 })]
  expect(findInTheWay(left, toService('guessed'))).toBe(left[0])
  expect(findInTheWay(left, toService('elsewhere'))).toBeUndefined()
  expect(findInTheWay(left, toService('small'))).toBeUndefined()
  expect(findInTheWay(left, toService('other'))).toBeUndefined()
  const two = [...left, { ...toLeft({ vramMiB: 1 }), key: 'second' }]
  expect(findInTheWay(two, toService('small'))).toBe(two[0])
  forget('http://other')
  expect(findInTheWay(two, toService('small'))).toBeUndefined()
  // A budget that is no more, or that the server does not use, is no obstacle.
  expect(open().findInTheWay([toLeft({ tokens: 9 })], toService('guessed'))).toBeUndefined()
})

test('the service of a server is known after a change of its configuration, by the commands on record', () => {
  const toOutside = (name: string, more = {}) => ({
    stopCommand: [['/bin/box', 'stop', `${name}-\${GENERATION}`]],
    statusCommand: ['/bin/box', 'ps', `${name}-\${GENERATION}`],
    ...more,
  })
  const toNow = (key: string, localService?: object) => [key, { key, localService } as Service] as const
  const services = new Map([
    toNow('remote'),
    toNow('other', toOutside('other')),
    toNow('new', toOutside('box')),
    toNow('blind', toOutside('blind', { statusCommand: undefined })),
  ])
  const find = (key: string, name: string, hasStatus = true) =>
    findServiceOf(
      {
        key,
        generation: '7',
        stop: [['/bin/box', 'stop', `${name}-7`]],
        ...(hasStatus ? { status: ['/bin/box', 'ps', `${name}-7`] } : {}),
      },
      services,
    )?.key
  expect(find('old', 'box')).toBe('new')
  expect(find('other', 'box')).toBe('other')
  expect(find('old', 'gone')).toBeUndefined()
  expect(find('old', 'blind', false)).toBe('blind')
  expect(find('old', 'box', false)).toBeUndefined()
})
