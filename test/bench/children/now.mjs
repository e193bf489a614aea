/** The host's monotonic clock in µs: one clock for every process of a machine. */
export function nowUs() {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e6 + nanoseconds / 1e3
}
