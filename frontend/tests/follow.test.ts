import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ApiError, type Client, NoAnswer, type Seen, type Session } from "@/lib/api-client";
import { backOff, follow, POLL_MS } from "@/lib/follow";
import { session } from "./samples";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const problem = { code: "", title: "", detail: "" };
const expired = new ApiError(410, problem, null);

/** A server that gives these answers, one a poll; the moments of the polls, milliseconds. */
function scripted(...answers: (Seen | Error)[]) {
  const polls: number[] = [];
  const begun = Date.now();
  const read: Client["read"] = async () => {
    polls.push(Date.now() - begun);
    const answer = answers.shift() ?? expired;
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { client: { read } as Client, polls };
}

function watcher() {
  const seen: (Session["status"] | "gone" | "trouble")[] = [];
  const stop = new AbortController();
  return {
    seen,
    stop,
    follower: {
      onSession: (one: Session) => void seen.push(one.status),
      onGone: () => void seen.push("gone"),
      onTrouble: () => void seen.push("trouble"),
      signal: stop.signal,
    },
  };
}

const seenAs = (status: Session["status"], waited = false): Seen => ({
  session: session(status),
  etag: null,
  waited,
});

test("polls every two seconds and stops at the end", async () => {
  const { client, polls } = scripted(seenAs("created"), seenAs("processing"), seenAs("completed"));
  const { follower, seen } = watcher();

  const end = follow(client, "one", follower);
  await vi.runAllTimersAsync();
  await end;

  expect(seen).toEqual(["created", "processing", "completed"]);
  expect(polls).toEqual([0, POLL_MS, 2 * POLL_MS]);
});

test("asks at once where the server held its answer back", async () => {
  const { client, polls } = scripted(seenAs("processing", true), seenAs("failed", true));
  const { follower, seen } = watcher();

  const end = follow(client, "one", follower);
  await vi.runAllTimersAsync();
  await end;

  expect(seen).toEqual(["processing", "failed"]);
  expect(polls[1]).toBeLessThan(POLL_MS / 2);
});

test("backs off while there is no answer, and goes on", async () => {
  const lost = new NoAnswer("");
  const { client, polls } = scripted(lost, lost, lost, seenAs("completed"));
  const { follower, seen } = watcher();

  const end = follow(client, "one", follower);
  await vi.runAllTimersAsync();
  await end;

  expect(seen).toEqual(["trouble", "trouble", "trouble", "completed"]);
  expect(polls).toEqual([0, 2_000, 6_000, 14_000]);
});

test("asks at once when the network is back", async () => {
  const { client, polls } = scripted(new NoAnswer(""), seenAs("completed"));
  const { follower } = watcher();
  const end = follow(client, "one", follower);
  await vi.advanceTimersByTimeAsync(100);

  window.dispatchEvent(new Event("online"));
  await end;

  expect(polls).toEqual([0, 100]);
});

test("leaves the server alone for as long as it says", () => {
  expect(backOff(1, new ApiError(429, problem, 17))).toBe(17_000);
  expect(backOff(9, new NoAnswer(""))).toBe(30_000);
});

test.each([404, 410])("%i is the end", async (status) => {
  const { client } = scripted(new ApiError(status, problem, null));
  const { follower, seen } = watcher();

  await follow(client, "one", follower);

  expect(seen).toEqual(["gone"]);
});

test("stops when nobody looks any more", async () => {
  const { client, polls } = scripted(seenAs("processing"), seenAs("processing"));
  const { follower, stop } = watcher();
  const end = follow(client, "one", follower);
  await vi.advanceTimersByTimeAsync(100);

  stop.abort();
  await end;

  expect(polls).toEqual([0]);
});
