/** A sum that was found in a text: the part as it was written, and what it comes to. */
export interface Sum {
  readonly expression: string
  /** The exact value, or rounded to 12 decimals; `null` when something is divided by zero. */
  readonly value: string | null
}

/** Longer texts are not searched, so that the search stays cheap. */
const longestText = 2000

/** Decimals kept of a value that does not end, such as one third. */
const maxDecimals = 12

/**
 * Finds the first sum in a text, such as `17 * 3` in "What is 17 * 3?": decimal numbers, `+ - * /`, also
 * written `×` and `÷`, and parentheses. Exact for whole numbers of any size and for decimals.
 * Absent when there is none; dates such as 2026-01-31 and texts over 2,000 characters have none.
 */
export function findSum(text: string): Sum | undefined {
  if (text.length > longestText) return undefined
  for (const [match] of text.matchAll(/(?<![\w.])[-+(\d.][-+(\d. \t*/×÷)]*[\d)](?!\w)/g)) {
    const expression = match.trim()
    if (isDate(expression)) continue
    const result = evaluate(expression)
    if (result !== undefined)
      return { expression, value: result === 'divided by zero' ? null : formatFraction(result) }
  }
  return undefined
}

function isDate(expression: string): boolean {
  return /^(?:\d{4}([-/])\d{1,2}\1\d{1,2}|\d{1,2}([-/])\d{1,2}\2\d{4})$/.test(expression)
}

/** An exact number: a numerator over a denominator above zero. */
interface Fraction {
  readonly over: bigint
  readonly under: bigint
}

type Result = Fraction | 'divided by zero'

/** Evaluates by recursive descent; absent when the text is no expression or has no operator between two numbers. */
function evaluate(expression: string): Result | undefined {
  const tokens = expression.match(/\d+(?:\.\d+)?|\.\d+|[-+*/×÷().]/g) ?? []
  let position = 0
  let operators = 0

  const binary = (signs: string, operand: () => Result | undefined): Result | undefined => {
    let left = operand()
    while (left !== undefined && signs.includes(tokens[position] ?? ' ')) {
      const sign = tokens[position++] ?? ''
      operators += 1
      const right = operand()
      left = right === undefined ? undefined : combine(left, sign, right)
    }
    return left
  }
  const sum = (): Result | undefined => binary('+-', product)
  const product = (): Result | undefined => binary('*/×÷', factor)
  const factor = (): Result | undefined => {
    const token = tokens[position++] ?? ''
    if (token === '+') return factor()
    if (token === '-') {
      const value = factor()
      return value === undefined ? undefined : combine({ over: 0n, under: 1n }, '-', value)
    }
    if (token === '(') {
      const value = sum()
      return tokens[position++] === ')' ? value : undefined
    }
    return /\d/.test(token) ? parseFraction(token) : undefined
  }

  const result = sum()
  return position === tokens.length && operators > 0 ? result : undefined
}

function combine(left: Result, sign: string, right: Result): Result {
  if (left === 'divided by zero' || right === 'divided by zero') return 'divided by zero'
  if (sign === '*' || sign === '×') return { over: left.over * right.over, under: left.under * right.under }
  if (sign === '+' || sign === '-') {
    const addend = right.over * left.under
    return {
      over: left.over * right.under + (sign === '+' ? addend : -addend),
      under: left.under * right.under,
    }
  }
  if (right.over === 0n) return 'divided by zero'
  const over = left.over * right.under
  const under = left.under * right.over
  return under < 0n ? { over: -over, under: -under } : { over, under }
}

function parseFraction(number: string): Fraction {
  const [whole = '', decimals = ''] = number.split('.')
  return { over: BigInt(whole + decimals), under: 10n ** BigInt(decimals.length) }
}

function formatFraction({ over, under }: Fraction): string {
  const scale = 10n ** BigInt(maxDecimals)
  const size = over < 0n ? -over : over
  const rounded = (size * scale * 2n + under) / (under * 2n)
  const decimals = (rounded % scale).toString().padStart(maxDecimals, '0').replace(/0+$/, '')
  const sign = over < 0n && rounded !== 0n ? '-' : ''
  return `${sign}${rounded / scale}${decimals === '' ? '' : `.${decimals}`}`
}
