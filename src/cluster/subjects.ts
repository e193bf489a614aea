/** The subjects of a cluster. `prefix`: the first token of each. */
export interface Subjects {
  card(member: string): string
  bye(member: string): string
  /** Asks every member for its card. */
  readonly who: string
  /** Answered by one run of a member, for as long as it is connected: without a subscriber NATS itself says so at once. */
  run(member: string, boot: string): string
  /** The bucket of the claims on cold starts. */
  readonly starts: string
}

export function toSubjects(prefix: string): Subjects {
  return {
    card: (member) => `${prefix}.card.${member}`,
    bye: (member) => `${prefix}.bye.${member}`,
    who: `${prefix}.who`,
    run: (member, boot) => `${prefix}.m.${member}.${boot}`,
    starts: `${prefix}-starts`,
  }
}

/** Where answers to the questions of a member arrive: a prefix of its own, so that no other member can read them. */
export function toInboxPrefix(member: string): string {
  return `_INBOX.${member}`
}
