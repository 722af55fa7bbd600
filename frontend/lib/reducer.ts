/**
 * Everything the Product Preview knows, and every way it changes.
 *
 * Pure: no clock, no network. Actions that come late (of an upload that was cancelled, of a
 * session that is not shown any more) name what they belong to, and change nothing.
 */

import type { Problem, Receipt, Session } from "./api-client";
import { isFinal } from "./follow";
import type { Picture, Rejection } from "./picture";

export type Slot = "person" | "garment";

export type GarmentChoice = { kind: "sample"; id: string } | { kind: "own"; picture: Picture };

export type Category = "auto" | "tops" | "bottoms" | "one-pieces";
export type Mode = "fast" | "balanced" | "quality";

export interface Options {
  category: Category;
  mode: Mode;
  /** Null is as long as the server keeps sessions. */
  retentionS: number | null;
  /** Erase the photo as soon as the picture is made. */
  deleteInputs: boolean;
  /** Leave to use an engine that sends photos to another service. */
  allowEgress: boolean;
  /** The visitor agreed to `CONSENT_VERSION`; null where nobody has asked. */
  consent: boolean | null;
}

export type Refusal = Pick<Problem, "code" | "title" | "detail">;

/** What the third column and the bar below show. */
export type Run =
  | { phase: "idle" }
  /** key: names the request, so that a second try of it cannot make a second session. */
  | { phase: "uploading"; key: string; sent: number; answering: boolean }
  /** `created` or `processing` at the server. */
  | { phase: "working"; session: Session; answering: boolean }
  | { phase: "completed"; session: Session }
  | { phase: "failed"; session: Session }
  /** The server said no; something must change. */
  | { phase: "refused"; problem: Refusal }
  /** The server said not now. untilMs: by this browser's clock. */
  | { phase: "limited"; problem: Refusal; untilMs: number }
  | { phase: "expired"; id: string }
  | { phase: "deleted" };

/** What was erased by hand, and what the server signed about it. */
export interface Proof {
  sessions: number;
  receipts: Receipt[];
  atMs: number;
}

export interface Preparing {
  sampleId: string | null;
}

export interface State {
  person: Picture | null;
  garment: GarmentChoice | null;
  /** A picture is being fetched or made smaller; which sample person, where it is one. */
  preparing: Record<Slot, Preparing | null>;
  rejected: Record<Slot, Rejection | null>;
  options: Options;
  run: Run;
  /** My sessions, newest first. */
  history: Session[];
  /** Whether the server keeps more of them than these; null until it has been asked. */
  more: boolean | null;
  proof: Proof | null;
  online: boolean;
}

export const DEFAULT_OPTIONS: Options = {
  category: "auto",
  mode: "balanced",
  retentionS: null,
  deleteInputs: false,
  allowEgress: false,
  consent: null,
};

export const INITIAL: State = {
  person: null,
  garment: null,
  preparing: { person: null, garment: null },
  rejected: { person: null, garment: null },
  options: DEFAULT_OPTIONS,
  run: { phase: "idle" },
  history: [],
  more: null,
  proof: null,
  online: true,
};

export type Action =
  | { type: "preparing"; slot: Slot; sampleId: string | null }
  | { type: "picked"; slot: Slot; picture: Picture }
  | { type: "rejected"; slot: Slot; rejection: Rejection }
  | { type: "cleared"; slot: Slot }
  | { type: "garment chosen"; id: string }
  | { type: "options changed"; options: Partial<Options> }
  | { type: "run pressed"; key: string }
  | { type: "upload moved"; key: string; sent: number }
  | { type: "upload stalled"; key: string }
  | { type: "created"; key: string; session: Session }
  | { type: "refused"; key: string; problem: Refusal; untilMs: number | null }
  | { type: "limit passed" }
  | { type: "polled"; session: Session }
  | { type: "poll stalled"; id: string }
  | { type: "gone"; id: string }
  /** What a reload wanted to show again is not there any more. */
  | { type: "not restored"; id: string }
  | { type: "cancelled" }
  | { type: "opened"; session: Session }
  | { type: "history read"; sessions: Session[]; more: boolean }
  | { type: "erased"; ids: string[]; receipts: Receipt[]; atMs: number }
  | { type: "proof closed" }
  | { type: "started over" }
  | { type: "network changed"; online: boolean };

/** What the catalogue and the engine say of what is chosen. */
export interface Pair {
  /** The engine can try this garment on this person. */
  suits: boolean;
  /** The engine sends photos to another service. */
  egress: boolean;
}

const USUAL_PAIR: Pair = { suits: true, egress: false };

/** Why the button cannot be pressed now; null where it can. */
export type Hindrance =
  | "needs both"
  | "needs person"
  | "needs garment"
  | "needs other garment"
  | "needs leave"
  | "preparing"
  | "busy"
  | "limited"
  | "offline";

export function hindrance(state: State, pair: Pair = USUAL_PAIR): Hindrance | null {
  const { person, garment, preparing, run, options } = state;
  if (run.phase === "uploading" || run.phase === "working") return "busy";
  if (preparing.person || preparing.garment) return "preparing";
  if (person === null) return garment === null ? "needs both" : "needs person";
  if (garment === null) return "needs garment";
  if (!pair.suits) return "needs other garment";
  if ((pair.egress && !options.allowEgress) || options.consent === false) return "needs leave";
  if (run.phase === "limited") return "limited";
  return state.online ? null : "offline";
}

export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "preparing":
      return withSlot(state, action.slot, {
        preparing: { sampleId: action.sampleId },
        rejected: null,
      });
    case "picked":
      return settleRefusal(
        action.slot === "person"
          ? { ...withSlot(state, "person", CALM), person: action.picture }
          : {
              ...withSlot(state, "garment", CALM),
              garment: { kind: "own", picture: action.picture },
            },
      );
    case "rejected":
      return withSlot(state, action.slot, { preparing: null, rejected: action.rejection });
    case "cleared":
      return settleRefusal({ ...withSlot(state, action.slot, CALM), [action.slot]: null });
    case "garment chosen":
      return settleRefusal({
        ...withSlot(state, "garment", CALM),
        garment: { kind: "sample", id: action.id },
      });
    case "options changed":
      return settleRefusal({ ...state, options: { ...state.options, ...action.options } });
    case "run pressed":
      if (hindrance(state) !== null) return state;
      return {
        ...state,
        proof: null,
        run: { phase: "uploading", key: action.key, sent: 0, answering: true },
      };
    case "upload moved":
    case "upload stalled":
    case "created":
    case "refused":
      return state.run.phase === "uploading" && state.run.key === action.key
        ? reduceUpload(state, state.run, action)
        : state;
    case "limit passed":
      return state.run.phase === "limited" ? { ...state, run: { phase: "idle" } } : state;
    case "polled":
      return reducePoll(state, action.session);
    case "poll stalled":
      return state.run.phase === "working" && state.run.session.id === action.id
        ? { ...state, run: { ...state.run, answering: false } }
        : state;
    case "gone":
      return reduceGone(state, action.id);
    case "not restored":
      return state.run.phase === "idle"
        ? { ...state, run: { phase: "expired", id: action.id } }
        : state;
    case "cancelled":
      return state.run.phase === "uploading" || state.run.phase === "working"
        ? { ...state, run: { phase: "idle" } }
        : state;
    case "opened":
      return { ...state, proof: null, run: runOf(action.session) };
    case "history read":
      return { ...state, history: action.sessions, more: action.more };
    case "erased":
      return reduceErased(state, action);
    case "proof closed":
      return { ...state, proof: null };
    case "started over":
      return {
        ...INITIAL,
        options: state.options,
        history: state.history,
        more: state.more,
        online: state.online,
      };
    case "network changed":
      return { ...state, online: action.online };
    default:
      return action satisfies never;
  }
}

/** What a session of the server looks like here. */
export function runOf(session: Session): Run {
  switch (session.status) {
    case "created":
    case "processing":
      return { phase: "working", session, answering: true };
    case "completed":
      return { phase: "completed", session };
    case "failed":
      return { phase: "failed", session };
    default:
      return session.status satisfies never;
  }
}

/** The session that the third column is about. */
export function shownSession(run: Run): Session | null {
  return "session" in run ? run.session : null;
}

const CALM = { preparing: null, rejected: null };

function withSlot(
  state: State,
  slot: Slot,
  change: { preparing: Preparing | null; rejected: Rejection | null },
): State {
  return {
    ...state,
    preparing: { ...state.preparing, [slot]: change.preparing },
    rejected: { ...state.rejected, [slot]: change.rejected },
  };
}

/** Something has changed that the server may have refused: its words are about the past now. */
function settleRefusal(state: State): State {
  return state.run.phase === "refused" ? { ...state, run: { phase: "idle" } } : state;
}

function reduceUpload(
  state: State,
  run: Extract<Run, { phase: "uploading" }>,
  action: Extract<Action, { key: string }>,
): State {
  switch (action.type) {
    case "run pressed":
      return state;
    case "upload moved":
      return { ...state, run: { ...run, sent: action.sent, answering: true } };
    case "upload stalled":
      return { ...state, run: { ...run, sent: 0, answering: false } };
    case "created":
      return { ...state, run: runOf(action.session), history: put(state.history, action.session) };
    case "refused": {
      const { problem, untilMs } = action;
      if (problem.code === "consent_required") {
        return { ...state, run: { phase: "idle" }, options: { ...state.options, consent: false } };
      }
      const refused: Run =
        untilMs === null ? { phase: "refused", problem } : { phase: "limited", problem, untilMs };
      return { ...state, run: refused };
    }
    default:
      return action satisfies never;
  }
}

function reducePoll(state: State, session: Session): State {
  const history = put(state.history, session);
  if (shownSession(state.run)?.id !== session.id) return { ...state, history };
  // What is final stays: an answer that was overtaken cannot bring the progress back.
  if (state.run.phase !== "working" && !isFinal(session)) return state;
  return { ...state, history, run: runOf(session) };
}

function reduceGone(state: State, id: string): State {
  const history = state.history.filter((one) => one.id !== id);
  const run: Run = shownSession(state.run)?.id === id ? { phase: "expired", id } : state.run;
  return { ...state, history, run };
}

function reduceErased(state: State, action: Extract<Action, { type: "erased" }>): State {
  const erased = new Set(action.ids);
  const shown = shownSession(state.run);
  const rest = {
    ...state,
    history: state.history.filter((one) => !erased.has(one.id)),
    proof: { sessions: action.ids.length, receipts: action.receipts, atMs: action.atMs },
  };
  if (shown === null || !erased.has(shown.id)) return rest;
  return { ...rest, run: { phase: "deleted" }, person: null, garment: null };
}

/** The newest words about a session, in its place; a new one comes first. */
function put(history: Session[], session: Session): Session[] {
  const known = history.some((one) => one.id === session.id);
  if (!known) return [session, ...history];
  return history.map((one) => (one.id === session.id ? session : one));
}
