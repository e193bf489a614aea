import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClusterError } from '../errors.ts'
import type { Libraries } from './libraries.ts'
import type { NatsUser } from './nats-config.ts'

/** A member with the file that holds the seed of its nkey. */
export interface MemberKey extends NatsUser {
  readonly file: string
  /** It was there before. */
  readonly isOld: boolean
}

/** Makes the key of each member in a folder, as `MEMBER.nk`, for its user only. A key that is there already is used again. */
export async function makeMemberKeys(
  members: readonly string[],
  folder: string,
  { transport: { nkeys } }: Pick<Libraries, 'transport'>,
): Promise<readonly MemberKey[]> {
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw new ClusterError(`${folder} cannot be made`, { cause })
  })
  return Promise.all(
    members.map(async (member) => {
      const file = join(folder, `${member}.nk`)
      const known = await readFile(file, 'utf8').catch(() => undefined)
      try {
        const pair =
          known === undefined ? nkeys.createUser() : nkeys.fromSeed(new TextEncoder().encode(known.trim()))
        if (known === undefined)
          await writeFile(file, `${new TextDecoder().decode(pair.getSeed())}\n`, { mode: 0o600, flag: 'wx' })
        return { member, publicKey: pair.getPublicKey(), file, isOld: known !== undefined }
      } catch (error) {
        const what = known === undefined ? 'cannot be written' : 'holds no seed of an nkey'
        throw new ClusterError(`${file} ${what}`, { cause: error })
      }
    }),
  )
}
