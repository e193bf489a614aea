/** Saves a text as a file. */
export function download(name: string, text: string, type = 'text/plain'): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([text], { type }))
  link.download = name
  link.click()
  // The download has begun once this turn is over.
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000)
}
