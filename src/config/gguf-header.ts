import { type FileHandle, open } from 'node:fs/promises'

/** A value of a GGUF header. Arrays of more than {@link MAX_KEPT} items are only counted: vocabularies take megabytes. */
export type GgufValue = number | string | boolean | readonly GgufValue[] | { readonly items: number }

/** What a GGUF file says about itself before its weights. */
export interface GgufHeader {
  readonly version: number
  readonly values: ReadonlyMap<string, GgufValue>
  readonly tensors: readonly string[]
  /** Size of the file. */
  readonly bytes: number
  /** Whether a tensor begins behind the end of the file: a download that was cut. */
  readonly isCut: boolean
}

const MAX_KEPT = 4096
/** Longest text that is kept: chat templates have some ten thousand characters. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024
const MAX_ENTRIES = 1_000_000
const MAX_DIMENSIONS = 8
const MAX_NESTING = 4
const DEFAULT_ALIGNMENT = 32
const READ_BYTES = 256 * 1024

/**
 * Reads the header of a GGUF file, version 2 or 3. Every count and length is checked against the file, so that a broken
 * or hostile one costs neither memory nor time.
 * @throws {RangeError} when it is not such a file, or ends within its header.
 */
export async function readGgufHeader(file: string): Promise<GgufHeader> {
  const handle = await open(file)
  try {
    const { size } = await handle.stat()
    return await parseHeader(createReader(handle, size), size)
  } finally {
    await handle.close()
  }
}

async function parseHeader(reader: Reader, bytes: number): Promise<GgufHeader> {
  if ((await reader.take(4)).toString('latin1') !== 'GGUF') throw new RangeError('this is not a GGUF file')
  const version = (await reader.take(4)).readUInt32LE()
  if (version !== 2 && version !== 3)
    throw new RangeError(
      version >= 0x01_00_00_00 ? 'big-endian GGUF files are not read' : `GGUF version ${version} is not read`,
    )
  const tensorCount = await reader.count(MAX_ENTRIES)
  const valueCount = await reader.count(MAX_ENTRIES)
  const values = new Map<string, GgufValue>()
  for (let index = 0; index < valueCount; index += 1) {
    const key = await reader.text()
    values.set(key, await readValue(reader, (await reader.take(4)).readUInt32LE(), 0))
  }
  const tensors: string[] = []
  let lastOffset = 0
  for (let index = 0; index < tensorCount; index += 1) {
    tensors.push(await reader.text())
    const dimensions = (await reader.take(4)).readUInt32LE()
    if (dimensions > MAX_DIMENSIONS) throw new RangeError(`a tensor has ${dimensions} dimensions`)
    // Its shape and its type.
    await reader.skip(8 * dimensions + 4)
    lastOffset = Math.max(lastOffset, Number((await reader.take(8)).readBigUInt64LE()))
  }
  const given = values.get('general.alignment')
  const alignment = typeof given === 'number' && given > 0 ? given : DEFAULT_ALIGNMENT
  const dataStart = Math.ceil(reader.position() / alignment) * alignment
  return { version, values, tensors, bytes, isCut: tensorCount > 0 && dataStart + lastOffset >= bytes }
}

const TEXT = 8
const LIST = 9

/** How a scalar is read, by the number of its type. */
const SCALARS: ReadonlyMap<
  number,
  { readonly bytes: number; readonly read: (bytes: Buffer) => number | boolean }
> = new Map([
  [0, { bytes: 1, read: (bytes) => bytes.readUInt8() }],
  [1, { bytes: 1, read: (bytes) => bytes.readInt8() }],
  [2, { bytes: 2, read: (bytes) => bytes.readUInt16LE() }],
  [3, { bytes: 2, read: (bytes) => bytes.readInt16LE() }],
  [4, { bytes: 4, read: (bytes) => bytes.readUInt32LE() }],
  [5, { bytes: 4, read: (bytes) => bytes.readInt32LE() }],
  [6, { bytes: 4, read: (bytes) => bytes.readFloatLE() }],
  [7, { bytes: 1, read: (bytes) => bytes.readUInt8() !== 0 }],
  [10, { bytes: 8, read: (bytes) => Number(bytes.readBigUInt64LE()) }],
  [11, { bytes: 8, read: (bytes) => Number(bytes.readBigInt64LE()) }],
  [12, { bytes: 8, read: (bytes) => bytes.readDoubleLE() }],
])

async function readValue(reader: Reader, type: number, depth: number): Promise<GgufValue> {
  if (type === TEXT) return reader.text()
  if (type !== LIST) {
    const scalar = findScalar(type)
    return scalar.read(await reader.take(scalar.bytes))
  }
  if (depth > MAX_NESTING) throw new RangeError('its lists are nested too deeply')
  const itemType = (await reader.take(4)).readUInt32LE()
  // An item takes at least a byte, so that the file itself limits how many there are.
  const items = await reader.count(Number.MAX_SAFE_INTEGER)
  if (items > MAX_KEPT) {
    if (itemType === TEXT) for (let index = 0; index < items; index += 1) await reader.skipText()
    else if (itemType === LIST) throw new RangeError('it has a list of too many lists')
    else await reader.skip(items * findScalar(itemType).bytes)
    return { items }
  }
  const list: GgufValue[] = []
  for (let index = 0; index < items; index += 1) list.push(await readValue(reader, itemType, depth + 1))
  return list
}

function findScalar(type: number) {
  const scalar = SCALARS.get(type)
  if (scalar === undefined) throw new RangeError(`${type} is not a type of a GGUF value`)
  return scalar
}

interface Reader {
  take(bytes: number): Promise<Buffer>
  skip(bytes: number): Promise<void>
  /** A 64-bit number that must not be more than `most`, nor than the bytes that are left. */
  count(most: number): Promise<number>
  text(): Promise<string>
  skipText(): Promise<void>
  /** Where the next byte is in the file. */
  position(): number
}

function createReader(handle: FileHandle, size: number): Reader {
  let buffer: Buffer = Buffer.alloc(0)
  /** Where the buffer begins in the file, and the next byte in the buffer. */
  let start = 0
  let next = 0

  const check = (bytes: number) => {
    if (start + next + bytes > size) throw new RangeError('the file ends within its header')
  }
  const take = async (bytes: number): Promise<Buffer> => {
    check(bytes)
    if (next + bytes > buffer.length) {
      start += next
      next = 0
      const wanted = Buffer.alloc(Math.min(Math.max(bytes, READ_BYTES), size - start))
      const { bytesRead } = await handle.read(wanted, 0, wanted.length, start)
      buffer = wanted.subarray(0, bytesRead)
      if (bytesRead < bytes) throw new RangeError('the file ends within its header')
    }
    next += bytes
    return buffer.subarray(next - bytes, next)
  }
  const skip = async (bytes: number) => {
    check(bytes)
    if (next + bytes <= buffer.length) next += bytes
    else {
      start += next + bytes
      next = 0
      buffer = Buffer.alloc(0)
    }
  }
  const count = async (most: number) => {
    const value = (await take(8)).readBigUInt64LE()
    const left = size - start - next
    if (value > BigInt(Math.min(most, left)))
      throw new RangeError(`a count of ${value} does not fit into the file`)
    return Number(value)
  }
  return {
    take,
    skip,
    count,
    text: async () => (await take(await count(MAX_TEXT_BYTES))).toString('utf8'),
    skipText: async () => skip(await count(Number.MAX_SAFE_INTEGER)),
    position: () => start + next,
  }
}
