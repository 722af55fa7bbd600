import { describe, expect, test } from "vitest";
import type { Session } from "@/lib/api-client";
import { Rejection } from "@/lib/picture";
import { type Action, hindrance, INITIAL, type Run, reduce, type State } from "@/lib/reducer";
import { picture, session } from "./samples";

const ready: State = {
  ...INITIAL,
  person: picture("person"),
  garment: { kind: "sample", id: "henley" },
};
const uploading = reduce(ready, { type: "run pressed", key: "first" });
const working = play(uploading, { type: "created", key: "first", session: session("created") });
const completed = play(working, { type: "polled", session: session("completed") });
const failed = play(working, { type: "polled", session: session("failed") });
const problem = { code: "image_invalid", title: "A picture could not be read", detail: "Anew." };
const refused = play(uploading, { type: "refused", key: "first", problem, untilMs: null });
const limited = play(uploading, { type: "refused", key: "first", problem, untilMs: 9_000 });
const expired = play(completed, { type: "gone", id: "one" });
const deleted = play(completed, { type: "erased", ids: ["one"], receipts: [], atMs: 5 });

function play(state: State, ...actions: Action[]): State {
  return actions.reduce(reduce, state);
}

test.each<[Run["phase"], State]>([
  ["idle", ready],
  ["uploading", uploading],
  ["working", working],
  ["completed", completed],
  ["failed", failed],
  ["refused", refused],
  ["limited", limited],
  ["expired", expired],
  ["deleted", deleted],
])("%s is reached", (phase, state) => {
  expect(state.run.phase).toBe(phase);
});

describe("choosing", () => {
  test("the newest picture replaces the one before, and its complaint", () => {
    const rejection = new Rejection("empty", { name: "a.jpg" });
    const before = play(INITIAL, { type: "rejected", slot: "person", rejection });

    const now = play(before, { type: "picked", slot: "person", picture: picture("new") });

    expect(now.person?.name).toBe("new");
    expect(now.rejected.person).toBeNull();
  });

  test("a rejected picture leaves the one before in its place", () => {
    const rejection = new Rejection("empty", { name: "a.jpg" });

    const now = play(
      ready,
      { type: "preparing", slot: "person", sampleId: null },
      { type: "rejected", slot: "person", rejection },
    );

    expect(now.person).toBe(ready.person);
    expect(now.rejected.person).toBe(rejection);
    expect(now.preparing.person).toBeNull();
  });

  test("an own garment and a sample replace each other", () => {
    const own = play(ready, { type: "picked", slot: "garment", picture: picture("shirt") });
    expect(own.garment).toEqual({ kind: "own", picture: picture("shirt") });

    const sample = play(own, { type: "garment chosen", id: "polo" });
    expect(sample.garment).toEqual({ kind: "sample", id: "polo" });
  });

  test("changing the garment keeps photo and result", () => {
    const now = play(completed, { type: "garment chosen", id: "polo" });

    expect(now.person).toBe(completed.person);
    expect(now.run).toBe(completed.run);
    expect(hindrance(now)).toBeNull();
  });

  test.each<Action>([
    { type: "cleared", slot: "person" },
    { type: "picked", slot: "garment", picture: picture("shirt") },
    { type: "garment chosen", id: "polo" },
    { type: "options changed", options: { mode: "fast" } },
  ])("$type takes the server's refusal off the page", (action) => {
    expect(play(refused, action).run.phase).toBe("idle");
  });
});

describe("the button", () => {
  test.each<[ReturnType<typeof hindrance>, State]>([
    ["needs both", INITIAL],
    ["needs person", { ...ready, person: null }],
    ["needs garment", { ...ready, garment: null }],
    ["preparing", { ...ready, preparing: { person: { sampleId: "ada" }, garment: null } }],
    ["busy", uploading],
    ["busy", working],
    ["limited", limited],
    ["offline", { ...ready, online: false }],
    ["needs leave", { ...ready, options: { ...ready.options, consent: false } }],
    [null, ready],
    [null, completed],
    [null, failed],
    [null, refused],
  ])("says %s", (reason, state) => {
    expect(hindrance(state)).toBe(reason);
  });

  test("asks for leave where the engine sends photos away", () => {
    const pair = { suits: true, egress: true };
    const allowed = play(ready, { type: "options changed", options: { allowEgress: true } });

    expect(hindrance(ready, pair)).toBe("needs leave");
    expect(hindrance(allowed, pair)).toBeNull();
  });

  test("asks for another garment where the sample person shows too little", () => {
    expect(hindrance(ready, { suits: false, egress: false })).toBe("needs other garment");
  });

  test("pressed twice it makes one request", () => {
    expect(play(uploading, { type: "run pressed", key: "second" })).toBe(uploading);
  });

  test("pressed while something is missing it does nothing", () => {
    expect(play(INITIAL, { type: "run pressed", key: "first" })).toBe(INITIAL);
  });
});

describe("the upload", () => {
  test("tells how much of it has left", () => {
    const now = play(uploading, { type: "upload moved", key: "first", sent: 0.4 });

    expect(now.run).toMatchObject({ phase: "uploading", sent: 0.4, answering: true });
  });

  test("without an answer keeps its key, so that no second session is made", () => {
    const now = play(uploading, { type: "upload stalled", key: "first" });

    expect(now.run).toMatchObject({ phase: "uploading", key: "first", answering: false });
  });

  test("once answered is the first of my sessions", () => {
    expect(working.history.map((one) => one.id)).toEqual(["one"]);
  });

  test("answered from an earlier one that is final already goes straight there", () => {
    const now = play(uploading, { type: "created", key: "first", session: session("completed") });

    expect(now.run.phase).toBe("completed");
  });

  test.each<Action>([
    { type: "upload moved", key: "other", sent: 1 },
    { type: "upload stalled", key: "other" },
    { type: "created", key: "other", session: session("created") },
    { type: "refused", key: "other", problem, untilMs: null },
  ])("$type of another upload changes nothing", (action) => {
    expect(play(uploading, action)).toBe(uploading);
  });

  test("that is stopped leaves both pictures", () => {
    const now = play(uploading, { type: "cancelled" });

    expect(now.run.phase).toBe("idle");
    expect(now.person).toBe(ready.person);
  });

  test("refused for want of consent asks for it", () => {
    const wanted = { ...problem, code: "consent_required" };
    const now = play(uploading, { type: "refused", key: "first", problem: wanted, untilMs: null });

    expect(now.run.phase).toBe("idle");
    expect(now.options.consent).toBe(false);
    expect(hindrance(now)).toBe("needs leave");
  });

  test("refused for a while can be tried again after it", () => {
    const now = play(limited, { type: "limit passed" });

    expect(now.run.phase).toBe("idle");
    expect(hindrance(now)).toBeNull();
  });
});

describe("a session", () => {
  test("moves with what the server says", () => {
    const now = play(working, {
      type: "polled",
      session: session("processing", { stage: "warping", progress: 0.6 }),
    });

    expect(now.run).toMatchObject({ phase: "working", session: { stage: "warping" } });
    expect(now.history[0]?.stage).toBe("warping");
  });

  test("that is final does not go back", () => {
    const now = play(completed, { type: "polled", session: session("processing") });

    expect(now).toBe(completed);
  });

  test("that is not shown changes in the list alone", () => {
    const listed = { ...completed, history: [session("processing", { id: "two" })] };

    const now = play(listed, { type: "polled", session: session("failed", { id: "two" }) });

    expect(now.run).toBe(completed.run);
    expect(now.history[0]?.status).toBe("failed");
  });

  test("whose server is silent says so until it answers", () => {
    const silent = play(working, { type: "poll stalled", id: "one" });
    expect(silent.run).toMatchObject({ phase: "working", answering: false });

    const back = play(silent, { type: "polled", session: session("processing") });
    expect(back.run).toMatchObject({ phase: "working", answering: true });
  });

  test("that expires leaves the list and the page", () => {
    expect(expired.history).toEqual([]);
    expect(expired.garment).toEqual(ready.garment);
  });

  test("of the list that expires leaves the page alone", () => {
    const now = play(completed, { type: "gone", id: "two" });

    expect(now.run).toBe(completed.run);
  });

  test("is opened from the list in whatever state it is", () => {
    const states: Session["status"][] = ["created", "processing", "completed", "failed"];
    const phases = states.map(
      (status) => play(INITIAL, { type: "opened", session: session(status) }).run.phase,
    );

    expect(phases).toEqual(["working", "working", "completed", "failed"]);
  });

  test("that a reload does not find is expired, unless something else is shown by now", () => {
    expect(play(INITIAL, { type: "not restored", id: "one" }).run.phase).toBe("expired");
    expect(play(uploading, { type: "not restored", id: "one" })).toBe(uploading);
  });

  test("that is worked on can be cancelled, with the pictures kept", () => {
    const now = play(working, { type: "cancelled" });

    expect(now.run.phase).toBe("idle");
    expect(now.person).toBe(ready.person);
  });
});

describe("erasing", () => {
  test("what is shown takes its pictures off the page, too", () => {
    expect(deleted.person).toBeNull();
    expect(deleted.garment).toBeNull();
    expect(deleted.history).toEqual([]);
    expect(deleted.proof).toEqual({ sessions: 1, receipts: [], atMs: 5 });
  });

  test("another session leaves what is shown", () => {
    const now = play(completed, { type: "erased", ids: ["two"], receipts: [], atMs: 5 });

    expect(now.run).toBe(completed.run);
    expect(now.person).toBe(completed.person);
  });

  test("shows its proof until it is closed or something new begins", () => {
    const again = play(
      deleted,
      { type: "picked", slot: "person", picture: picture("person") },
      { type: "garment chosen", id: "polo" },
      { type: "run pressed", key: "second" },
    );

    expect(play(deleted, { type: "proof closed" }).proof).toBeNull();
    expect(again.run.phase).toBe("uploading");
    expect(again.proof).toBeNull();
  });
});

test("starting over keeps the options, the list and the network", () => {
  const changed = play(
    completed,
    { type: "options changed", options: { mode: "quality" } },
    { type: "network changed", online: false },
  );

  const now = play(changed, { type: "started over" });

  expect(now.run.phase).toBe("idle");
  expect(now.person).toBeNull();
  expect(now.options.mode).toBe("quality");
  expect(now.history).toEqual(changed.history);
  expect(now.online).toBe(false);
});

test("the list is what the server says", () => {
  const now = play(completed, {
    type: "history read",
    sessions: [session("failed", { id: "two" })],
    more: false,
  });

  expect(now.history.map((one) => one.id)).toEqual(["two"]);
  expect(now.run).toBe(completed.run);
});
