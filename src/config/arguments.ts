import { basename } from 'node:path'
import type { LocalServiceConfig } from './config.ts'
import { type Finding, toWarning } from './finding.ts'

const SHELL = /^(ba|da|k|z|fi)?sh$/

/**
 * Arguments and variables that only a shell would understand. No shell reads them, so the program gets them as they are
 * written; texts for a shell that the command itself runs (`sh -c TEXT`) are left alone.
 */
export function findShellismProblems(
  { command, args, env, secretArgs }: LocalServiceConfig,
  at: readonly PropertyKey[],
): Finding[] {
  const isForShell = SHELL.test(basename(command)) && args.some((arg) => /^-\w*c$/.test(arg))
  const ofArgs = args.flatMap((arg, index) => {
    const fault = toArgumentFault(arg) ?? toExpansionFault(arg)
    return fault === undefined || secretArgs.includes(index) ? [] : [toWarning([...at, 'args', index], fault)]
  })
  const ofEnv = Object.entries(env).flatMap(([name, value]) => {
    const fault = toExpansionFault(value)
    return fault === undefined ? [] : [toWarning([...at, 'env', name], fault)]
  })
  return isForShell ? ofEnv : [...ofArgs, ...ofEnv]
}

/** The text may hold a secret: only the name of an option or of a variable is shown. */
function toArgumentFault(arg: string): string | undefined {
  const [, option] = /^(--?[A-Za-z][\w-]*)\s+\S/.exec(arg) ?? []
  if (option !== undefined)
    return `"${option} …" is one argument; write the option and its value as two: "${option}", "…"`
  // Docker reads the quotes of `--gpus '"device=0,1"'` itself.
  if (/^(["']).*\1$/s.test(arg) && !/^"device=/.test(arg))
    return 'has quotes around it, which the program gets too; no shell removes them'
  if (/^(&&?|\|\|?|;|\d?>>?(&\d)?|<)$/.test(arg))
    return `"${arg}" is for a shell, and no shell is used; name a script as the command`
  return undefined
}

function toExpansionFault(text: string): string | undefined {
  if (/^~[\w-]*(\/|$)|=~\//.test(text))
    return `"~" is not expanded, because no shell is used; give an absolute path, or \${HOME}`
  const [, name] = /(?:^|[=:,/])\$([A-Z_][A-Z0-9_]*)\b/.exec(text) ?? []
  return name === undefined ? undefined : `"$${name}" is not expanded; write \${${name}}`
}
