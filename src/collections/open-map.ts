/**
 * A map for what comes and goes with every request, in the order in which it came. After some deletions a `Map` copies
 * its entries to a new table and leaves them in the old one, too. A table that the garbage collector has moved to its
 * old generation keeps them, and all that they refer to, until the whole heap is collected: of the objects of a request
 * one in seven outlived it so. Here only keys and numbers are copied: a value has one place, which is emptied when it
 * goes.
 */
export class OpenMap<Value extends object> {
  readonly #places = new Map<string, number>()
  readonly #values: (Value | undefined)[] = []
  readonly #free: number[] = []

  get size(): number {
    return this.#places.size
  }

  get(key: string): Value | undefined {
    const place = this.#places.get(key)
    return place === undefined ? undefined : this.#values[place]
  }

  set(key: string, value: Value): void {
    const place = this.#places.get(key) ?? this.#free.pop() ?? this.#values.length
    this.#values[place] = value
    this.#places.set(key, place)
  }

  /** `false`: there was none. */
  delete(key: string): boolean {
    const place = this.#places.get(key)
    if (place === undefined) return false
    this.#places.delete(key)
    this.#values[place] = undefined
    this.#free.push(place)
    return true
  }

  *[Symbol.iterator](): IterableIterator<[string, Value]> {
    for (const [key, place] of this.#places) {
      const value = this.#values[place]
      if (value !== undefined) yield [key, value]
    }
  }
}
