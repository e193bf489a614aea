import { writeFile } from 'node:fs/promises'

export const u32 = (value: number) => Buffer.from(new Uint32Array([value]).buffer)
export const u64 = (value: number | bigint) => Buffer.from(new BigUint64Array([BigInt(value)]).buffer)
export const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])

function toValue(value: unknown): Buffer {
  if (typeof value === 'string') return Buffer.concat([u32(8), text(value)])
  if (typeof value === 'boolean') return Buffer.concat([u32(7), Buffer.from([Number(value)])])
  if (!Array.isArray(value)) return Buffer.concat([u32(4), u32(Number(value))])
  const items = value.map((item) => toValue(item))
  const [first = toValue(0)] = items
  return Buffer.concat([
    u32(9),
    first.subarray(0, 4),
    u64(items.length),
    ...items.map((item) => item.subarray(4)),
  ])
}

/** Writes a GGUF file with these values and the names of these tensors. */
export async function writeGguf(
  file: string,
  values: object,
  tensors: readonly string[] = [],
): Promise<string> {
  const entries = Object.entries(values).map(([key, value]) => Buffer.concat([text(key), toValue(value)]))
  const infos = tensors.map((tensor) => Buffer.concat([text(tensor), u32(1), u64(1), u32(0), u64(0)]))
  const head = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(entries.length)]
  await writeFile(file, Buffer.concat([...head, ...entries, ...infos]))
  return file
}
