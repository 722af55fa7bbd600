/** The Product Preview's effects: what the reducer decides is done here. */

import { useCallback, useEffect, useMemo, useReducer, useRef } from "react";
import { ApiError, type Client, type NewSession, NoAnswer, type Session } from "./api-client";
import { backOff, follow, isFinal, pause } from "./follow";
import { forget } from "./known-sessions";
import { messages } from "./messages";
import { type PictureLimits, preparePicture, Rejection, release, toPicture } from "./picture";
import { INITIAL, reduce, type Slot, type State, shownSession } from "./reducer";
import { changeKnown, keepShown, randomName, readShown } from "./token";

const LIST_MS = 5_000;
/** Names the words of `messages.leave.consent`: change both together. */
const CONSENT_VERSION = "tryonai-page-1";

export interface TryOn {
  state: State;
  /** The photo that a session of this page began with, while the page lives. */
  before(sessionId: string): Blob | null;
  pickFile(slot: Slot, file: File): Promise<void>;
  pickPerson(person: { id: string; name: string; image_url: string }): Promise<void>;
  clear(slot: Slot): void;
  chooseGarment(id: string): void;
  change(options: Partial<State["options"]>): void;
  press(): void;
  cancel(): void;
  open(session: Session): Promise<void>;
  startOver(): void;
  /** Rejects where the server cannot be reached. */
  erase(sessions: "all" | Session): Promise<void>;
  closeProof(): void;
}

export function useTryOn(client: Client, limits: PictureLimits): TryOn {
  const [state, dispatch] = useReducer(reduce, INITIAL);
  const now = useRef({ state, limits });
  now.current = { state, limits };
  const photos = useRef(new Map<string, Blob>());
  const latest = useRef<Record<Slot, number>>({ person: 0, garment: 0 });

  const uploading = state.run.phase === "uploading" ? state.run.key : null;
  const working = state.run.phase === "working" ? state.run.session.id : null;
  const shown = shownSession(state.run);
  const phase = state.run.phase;

  const readHistory = useCallback(async () => {
    try {
      dispatch({ type: "history read", ...(await client.list()) });
    } catch {
      // The list is a convenience: what is shown stays, and it is read again.
    }
  }, [client]);

  /** Loads what belongs to a slot; of two that overlap the later one counts. */
  const load = useCallback(async (slot: Slot, get: () => Promise<Blob>, about: About) => {
    latest.current[slot] += 1;
    const mine = latest.current[slot];
    dispatch({ type: "preparing", slot, sampleId: about.sampleId ?? null });
    try {
      const blob = await get();
      if (latest.current[slot] !== mine) return;
      dispatch({ type: "picked", slot, picture: toPicture(blob, about.name, about.sampleId) });
    } catch (reason) {
      if (latest.current[slot] !== mine) return;
      const rejection =
        reason instanceof Rejection ? reason : new Rejection("unreadable", { name: about.name });
      dispatch({ type: "rejected", slot, rejection });
    }
  }, []);

  /** Puts the pictures of a session back into the first two columns. */
  const refill = useCallback(
    async (session: Session, personId: string | null) => {
      if (session.garment_id) dispatch({ type: "garment chosen", id: session.garment_id });
      else if (session.garment_image_url) {
        const path = session.garment_image_url;
        void load("garment", () => client.picture(path), { name: messages.garment.ownChosen });
      }
      const kept = photos.current.get(session.id);
      const path = session.input_image_url;
      const get = kept ? async () => kept : path && (() => client.picture(path));
      if (!get) return dispatch({ type: "cleared", slot: "person" });
      await load("person", get, { name: messages.person.title, sampleId: personId });
    },
    [client, load],
  );

  useEffect(() => {
    const tell = () => dispatch({ type: "network changed", online: navigator.onLine });
    tell();
    window.addEventListener("online", tell);
    window.addEventListener("offline", tell);
    return () => {
      window.removeEventListener("online", tell);
      window.removeEventListener("offline", tell);
    };
  }, []);

  // What a reload left.
  useEffect(() => {
    const gone = new AbortController();
    void readHistory();
    const last = readShown();
    if (last !== null) void restore(last.id, last.personId);
    return () => gone.abort();

    async function restore(id: string, personId: string | null) {
      try {
        const seen = await client.read(id, { etag: null, waitS: 0, signal: gone.signal });
        const { run, person } = now.current.state;
        if (seen.session === null || run.phase !== "idle" || person !== null) return;
        dispatch({ type: "opened", session: seen.session });
        await refill(seen.session, personId);
      } catch (reason) {
        if (!(reason instanceof ApiError && [404, 410].includes(reason.status))) return;
        keepShown(null);
        dispatch({ type: "not restored", id });
      }
    }
  }, [client, readHistory, refill]);

  // The upload: tried again under the same key until an answer comes.
  useEffect(() => {
    if (uploading === null) return;
    const key = uploading;
    const stop = new AbortController();
    void send();
    return () => stop.abort();

    async function send() {
      const form = formOf(now.current.state);
      const person = now.current.state.person;
      for (let failures = 1; !stop.signal.aborted; failures += 1) {
        try {
          const session = await client.create(form, {
            key,
            onProgress: (sent) => dispatch({ type: "upload moved", key, sent }),
            signal: stop.signal,
          });
          photos.current.set(session.id, form.person_image);
          keepShown({ id: session.id, personId: person?.sampleId ?? null });
          return dispatch({ type: "created", key, session });
        } catch (reason) {
          if (stop.signal.aborted) return;
          if (!isWorthRepeating(reason)) return dispatch({ type: "refused", key, ...why(reason) });
          dispatch({ type: "upload stalled", key });
          await pause(backOff(failures, reason), stop.signal);
        }
      }
    }
  }, [client, uploading]);

  useEffect(() => {
    if (working === null) return;
    const stop = new AbortController();
    void follow(client, working, {
      onSession: (session) => dispatch({ type: "polled", session }),
      onGone: () => dispatch({ type: "gone", id: working }),
      onTrouble: () => dispatch({ type: "poll stalled", id: working }),
      signal: stop.signal,
    });
    return () => stop.abort();
  }, [client, working]);

  useEffect(() => {
    if (phase === "completed" || phase === "failed") void readHistory();
  }, [phase, readHistory]);

  // Sessions that go on beside the one that is shown, or nobody knows which there are.
  const others =
    state.more === null || state.history.some((one) => !isFinal(one) && one.id !== working);
  useEffect(() => {
    if (!others) return;
    const timer = setInterval(readHistory, LIST_MS);
    return () => clearInterval(timer);
  }, [others, readHistory]);

  // By the server's clock, also in a page that nobody has touched for hours.
  const nextExpiry = nextToExpire(state.history, shown);
  useEffect(() => {
    if (nextExpiry === null) return;
    const leftMs = Date.parse(nextExpiry.expires_at) - client.now();
    const gone = () => dispatch({ type: "gone", id: nextExpiry.id });
    const timer = setTimeout(gone, Math.max(0, leftMs));
    return () => clearTimeout(timer);
  }, [client, nextExpiry]);

  const untilMs = state.run.phase === "limited" ? state.run.untilMs : null;
  useEffect(() => {
    if (untilMs === null) return;
    const timer = setTimeout(() => dispatch({ type: "limit passed" }), untilMs - Date.now());
    return () => clearTimeout(timer);
  }, [untilMs]);

  useEffect(() => {
    if (phase === "expired" || phase === "deleted") keepShown(null);
  }, [phase]);

  const person = state.person;
  useEffect(() => () => void (person && release(person)), [person]);
  const garment = state.garment?.kind === "own" ? state.garment.picture : null;
  useEffect(() => () => void (garment && release(garment)), [garment]);

  return useMemo(
    () => ({
      state,
      before: (sessionId) => photos.current.get(sessionId) ?? null,
      pickFile: (slot, file) => {
        const name = file.name || messages.unknownFile;
        return load(slot, () => preparePicture(file, now.current.limits), { name });
      },
      pickPerson: ({ id, name, image_url }) =>
        load("person", () => client.picture(image_url), { name, sampleId: id }),
      clear: (slot) => {
        latest.current[slot] += 1;
        dispatch({ type: "cleared", slot });
      },
      chooseGarment: (id) => {
        latest.current.garment += 1;
        dispatch({ type: "garment chosen", id });
      },
      change: (options) => dispatch({ type: "options changed", options }),
      press: () => dispatch({ type: "run pressed", key: randomName() }),
      cancel: () => {
        const { run } = now.current.state;
        if (run.phase === "working") {
          const { id } = run.session;
          keepShown(null);
          forgetKnown([id]);
          void client
            .erase(id)
            .finally(readHistory)
            .catch(() => undefined);
        }
        dispatch({ type: "cancelled" });
      },
      open: async (session) => {
        keepShown({ id: session.id, personId: null });
        dispatch({ type: "opened", session });
        await refill(session, null);
      },
      startOver: () => {
        latest.current = { person: latest.current.person + 1, garment: latest.current.garment + 1 };
        keepShown(null);
        dispatch({ type: "started over" });
      },
      erase: async (sessions) => {
        const { history, run } = now.current.state;
        const all = sessions === "all";
        const receipts = all
          ? await client.eraseAll()
          : [await client.erase(sessions.id)].filter((one) => one !== null);
        const gone = all ? [...history, shownSession(run)] : [sessions];
        const ids = [...new Set(gone.flatMap((one) => one?.id ?? []))];
        for (const id of ids) photos.current.delete(id);
        forgetKnown(ids);
        dispatch({ type: "erased", ids, receipts, atMs: client.now() });
        void readHistory();
      },
      closeProof: () => dispatch({ type: "proof closed" }),
    }),
    [client, load, readHistory, refill, state],
  );
}

interface About {
  name: string;
  sampleId?: string | null;
}

/** What its owner erases leaves no entry. */
function forgetKnown(ids: string[]): void {
  changeKnown((known) => forget(known, ids));
}

/** The contract's form; what stays at its default is left to the server. */
export function formOf({ person, garment, options }: State): NewSession {
  if (person === null || garment === null) throw new Error("nothing to send yet");
  const form: NewSession = { person_image: person.blob };
  if (garment.kind === "sample") form.garment_id = garment.id;
  else form.garment_image = garment.picture.blob;
  if (options.category !== "auto") form.category = options.category;
  if (options.mode !== "balanced") form.mode = options.mode;
  if (options.retentionS !== null) form.retention_seconds = String(options.retentionS);
  if (options.deleteInputs) form.delete_inputs = "on_completion";
  if (options.allowEgress) form.allow_egress = "true";
  if (options.consent) form.consent_version = CONSENT_VERSION;
  return form;
}

/** No answer, or the first request of this key is still being answered. */
function isWorthRepeating(reason: unknown): boolean {
  if (reason instanceof ApiError) return reason.problem.code === "idempotency_in_progress";
  return reason instanceof NoAnswer;
}

function why(reason: unknown): { problem: ApiError["problem"]; untilMs: number | null } {
  if (!(reason instanceof ApiError)) throw reason;
  const waits = [429, 503, 507].includes(reason.status) && reason.retryAfterS !== null;
  const untilMs = waits ? Date.now() + (reason.retryAfterS ?? 0) * 1000 : null;
  return { problem: reason.problem, untilMs };
}

function nextToExpire(history: Session[], shown: Session | null): Session | null {
  const known = shown ? [shown, ...history] : history;
  return known.reduce<Session | null>(
    (first, one) => (first === null || one.expires_at < first.expires_at ? one : first),
    null,
  );
}
