import { defaultSettings } from '../testing/model-server/option-fields.ts'

/** The flags of the demo server with their defaults, for the help text. */
export function buildDemoServerHelp(): string {
  const rows = Object.entries(defaultSettings()).map(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]|\d+/g, (part) => `-${part.toLowerCase()}`)}`
    return `  ${value === false ? flag : `${flag} <${describeKind(value)}>`}`
  })
  return `\nFlags:\n${rows.join('\n')}`
}

function describeKind(value: unknown): string {
  if (typeof value === 'number') return `number, ${value}`
  return typeof value === 'string' ? `text, ${value}` : 'value'
}
