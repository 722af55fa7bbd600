/** Follows a session until it is final. */

import { ApiError, type Client, type Session } from "./api-client";

export const POLL_MS = 2_000;
const LONGEST_MS = 30_000;
const WAIT_S = 20;
/** A server that holds answers back is asked again at once; this bounds one that does it wrong. */
const AFTER_WAIT_MS = 250;

export interface Follower {
  onSession(session: Session): void;
  /** Expired, erased, or never ours. */
  onGone(): void;
  /** No answer, or none that helps. It is asked again. */
  onTrouble(): void;
  signal: AbortSignal;
}

export function isFinal(session: Session): boolean {
  return session.status === "completed" || session.status === "failed";
}

export async function follow(client: Client, id: string, follower: Follower): Promise<void> {
  const { signal } = follower;
  let etag: string | null = null;
  let failures = 0;
  while (!signal.aborted) {
    let pauseMs = POLL_MS;
    try {
      const seen = await client.read(id, { etag, waitS: WAIT_S, signal });
      if (signal.aborted) return;
      failures = 0;
      etag = seen.etag;
      if (seen.session) follower.onSession(seen.session);
      if (seen.session && isFinal(seen.session)) return;
      if (seen.waited) pauseMs = AFTER_WAIT_MS;
    } catch (reason) {
      if (signal.aborted) return;
      if (reason instanceof ApiError && (reason.status === 404 || reason.status === 410)) {
        follower.onGone();
        return;
      }
      follower.onTrouble();
      failures += 1;
      pauseMs = backOff(failures, reason);
    }
    await pause(pauseMs, signal);
  }
}

/** How long to leave a server alone that did not answer, or asked for it, milliseconds. */
export function backOff(failures: number, reason: unknown): number {
  if (reason instanceof ApiError && reason.retryAfterS !== null) return reason.retryAfterS * 1000;
  return Math.min(POLL_MS * 2 ** (failures - 1), LONGEST_MS);
}

/** Ends early when the network is back or the signal says so. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      window.removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    window.addEventListener("online", end);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}
