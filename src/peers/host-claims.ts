import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { platform } from 'node:process'
import type { Clock } from '../clock.ts'
import { createFileLocks } from '../process/file-lock.ts'
import { createClaimServer, createKernelLocks, type HostLocks, toClaimName } from '../process/host-lock.ts'
import type { StateDirectory } from '../process/state-directory.ts'
import { findSocketHolder } from '../process/tcp-ports.ts'
import { HandshakeError, type Identity, type PeerConnection, shakeHands } from './peer-wire.ts'

/** The right to run the one process of a service key, held until it is released. */
export interface Claim {
  readonly key: string
  /** Lets the longest waiting claimant have it. A second call does nothing. */
  release(): void
}

/** Hands out claims within one supervisor. */
export interface LocalClaims {
  /**
   * Settles when the claim is ours; claimants of one key are served in the order they came.
   * @throws the signal's reason when it is aborted first; the claim then goes to the next in line.
   */
  claim(key: string, signal?: AbortSignal): Promise<Claim>
}

/** Claims that hold among the users of this one object only. */
export function createLocalClaims(): LocalClaims {
  /** Per claimed key, who waits for it. */
  const waiting = new Map<string, (() => void)[]>()

  const grant = (key: string): Claim => {
    let isHeld = true
    return {
      key,
      release() {
        if (!isHeld) return
        isHeld = false
        const next = waiting.get(key)?.shift()
        if (next === undefined) waiting.delete(key)
        else next()
      },
    }
  }

  return {
    async claim(key, signal) {
      signal?.throwIfAborted()
      const queue = waiting.get(key)
      if (queue === undefined) {
        waiting.set(key, [])
        return grant(key)
      }
      return new Promise((resolve, reject) => {
        const take = () => {
          signal?.removeEventListener('abort', leave)
          resolve(grant(key))
        }
        const leave = () => {
          queue.splice(queue.indexOf(take), 1)
          reject(signal?.reason)
        }
        queue.push(take)
        signal?.addEventListener('abort', leave, { once: true })
      })
    },
  }
}

/** A claim that is ours, or the news that another supervisor of this user has it. */
export type ClaimResult =
  | { readonly outcome: 'claimed'; readonly claim: Claim }
  | { readonly outcome: 'held' }

/** Hands out claims that hold among all supervisors of this user on this host. */
export interface Claims {
  /**
   * Settles when the claim on an address is ours or known to be another's. Claimants within this supervisor are served
   * in the order they came.
   * @throws {@link StateDirectoryError} without a place to find each other in, no claim can be had; the system's error;
   * the signal's reason when it is aborted first
   */
  claim(address: string, signal?: AbortSignal): Promise<ClaimResult>
  /**
   * Connects to the holder of the claim on an address. The connection keeps this process alive.
   * @throws {@link HandshakeError} `closed` when no process listens any more; `timeout` when the listener says nothing
   */
  meet(address: string): Promise<PeerConnection>
}

export interface HostClaimsOptions {
  /** Opened with the first claim. May throw, and is asked again with the next. */
  readonly stateDirectory: () => StateDirectory
  /** What this supervisor calls itself. */
  readonly name: string
  readonly clock: Clock
  /** A supervisor has come to a claim of ours, and has proven who it is. It is sent away when the claim is released. */
  readonly onGuest: (address: string, guest: PeerConnection) => void
  /** Awaited with every claim that was free, before it is handed out. The claim is given back when it rejects. */
  readonly onClaimed?: (address: string) => Promise<void>
  /** Told when a claim that was handed out is given back. */
  readonly onReleased?: (address: string) => void
  /** @default those of the kernel on Linux and Windows, files elsewhere */
  readonly toLocks?: (state: StateDirectory, clock: Clock) => HostLocks
}

export function createHostClaims({
  stateDirectory,
  name,
  clock,
  onGuest,
  onClaimed = async () => {},
  onReleased = () => {},
  toLocks = toDefaultLocks,
}: HostClaimsOptions): Claims {
  const local = createLocalClaims()
  const identify = (address: string): { readonly identity: Identity; readonly locks: HostLocks } => {
    const state = stateDirectory()
    const identity = { hostKey: state.hostKey, claim: toClaimName(state.path, address), name, clock }
    return { identity, locks: toLocks(state, clock) }
  }
  const take = async (address: string, mine: Claim): Promise<ClaimResult> => {
    const { identity, locks } = identify(address)
    const guests = new Set<Socket>()
    const server = createClaimServer()
    server.on('connection', (socket) => {
      guests.add(socket)
      socket.once('close', () => guests.delete(socket))
      shakeHands(socket, 'owner', identity).then(
        (guest) => onGuest(address, guest),
        // It left, or is none of us: it has been sent away.
        () => {},
      )
    })
    const lock = await locks.take(identity.claim, server)
    if (lock === undefined) {
      mine.release()
      return { outcome: 'held' }
    }
    await onClaimed(address).catch((error) => {
      lock.release()
      throw error
    })
    const release = () => {
      lock.release()
      for (const socket of guests) socket.destroySoon()
      mine.release()
      onReleased(address)
    }
    return { outcome: 'claimed', claim: { key: address, release } }
  }

  return {
    async claim(address, signal) {
      const mine = await local.claim(address, signal)
      try {
        return await take(address, mine)
      } catch (error) {
        mine.release()
        throw error
      }
    },
    async meet(address) {
      const { identity, locks } = identify(address)
      for (const path of await locks.addressesOf(identity.claim)) {
        try {
          return await shakeHands(connect({ path }), 'guest', identity)
        } catch (error) {
          if (!(error instanceof HandshakeError)) throw error
          if (error.reason === 'timeout') throw new HandshakeError('timeout', findSocketHolder(path))
          if (error.reason !== 'closed') throw error
        }
      }
      throw new HandshakeError('closed')
    },
  }
}

function toDefaultLocks(state: StateDirectory, clock: Clock): HostLocks {
  return platform === 'linux' || platform === 'win32'
    ? createKernelLocks(state)
    : createFileLocks(state, clock)
}
