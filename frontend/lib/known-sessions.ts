/**
 * The sessions that this browser has seen, so that what has expired does not vanish without a word.
 *
 * Ids, garments of the catalogue and times alone: no picture, nothing that opens one.
 */

import type { Receipt, Session } from "./api-client";

export interface Known {
  id: string;
  garmentId: string | null;
  expiresAt: string;
  /** As its receipt says; null until that has been seen. */
  erasedAt: string | null;
  /** When its receipt was last asked for, milliseconds. */
  askedMs: number | null;
}

export const MOST_KNOWN = 20;
/** The server erases within seconds of the time; asked earlier it has no receipt yet. */
export const SETTLED_MS = 15_000;
/** A server that had none a moment ago is left alone for as long. */
const PATIENCE_MS = 4_000;
/** How well its clock is known here. */
const CLOCK_MS = 2_000;
/** Without a receipt by then there is none, or none any more. */
const GIVEN_UP_MS = 10 * 60_000;
/** Receipts have an end, too: whether this one is still there is asked once a day. */
const ASKED_AGAIN_MS = 24 * 3_600_000;

const expiry = (one: Known) => Date.parse(one.expiresAt);
/** Whether the server may hold it for expired, whose clock may be ahead of what is known of it. */
const mayBeOver = (one: Known, nowMs: number) => expiry(one) - CLOCK_MS <= nowMs;

/** What is known once these sessions have been seen; newest first. */
export function remember(known: Known[], sessions: Session[]): Known[] {
  const seen = new Map(sessions.map((one) => [one.id, one]));
  const anew = sessions.map((one) => ({
    id: one.id,
    garmentId: one.garment_id,
    expiresAt: one.expires_at,
    erasedAt: null,
    askedMs: null,
  }));
  return [...anew, ...known.filter((one) => !seen.has(one.id))].slice(0, MOST_KNOWN);
}

/** Those that are over, the last one first. */
export function erased(known: Known[], live: Session[], nowMs: number): Known[] {
  const ids = new Set(live.map((one) => one.id));
  return known
    .filter((one) => !ids.has(one.id) && (one.erasedAt !== null || mayBeOver(one, nowMs)))
    .sort((one, other) => expiry(other) - expiry(one));
}

/**
 * Those whose receipt should be asked for.
 *
 * complete: the server has named all sessions that live, so that one it did not name is gone.
 */
export function toAsk(known: Known[], live: Session[], complete: boolean, nowMs: number): Known[] {
  const ids = new Set(live.map((one) => one.id));
  return known.filter((one) => {
    if (ids.has(one.id)) return false;
    const rest = one.erasedAt === null ? PATIENCE_MS : ASKED_AGAIN_MS;
    if (one.askedMs !== null && nowMs - one.askedMs < rest) return false;
    return expiry(one) + SETTLED_MS <= nowMs || (complete && !mayBeOver(one, nowMs));
  });
}

/** What is known after the server has answered for a receipt; null: it has none. */
export function settle(
  known: Known[],
  id: string,
  receipt: Receipt | null,
  nowMs: number,
): Known[] {
  return known.flatMap((one) => {
    if (one.id !== id) return [one];
    // What its owner deleted has been told already, and is to leave nothing.
    if (receipt?.statement.reason === "request") return [];
    if (receipt) return [{ ...one, erasedAt: receipt.statement.erased_at, askedMs: nowMs }];
    const waits = mayBeOver(one, nowMs) && nowMs < expiry(one) + GIVEN_UP_MS;
    return waits && one.erasedAt === null ? [{ ...one, askedMs: nowMs }] : [];
  });
}

export function forget(known: Known[], ids: string[]): Known[] {
  return known.filter((one) => !ids.includes(one.id));
}
