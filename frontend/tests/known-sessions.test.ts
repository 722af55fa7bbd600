import { beforeEach, describe, expect, test } from "vitest";
import type { Receipt } from "@/lib/api-client";
import {
  erased,
  forget,
  type Known,
  MOST_KNOWN,
  remember,
  SETTLED_MS,
  settle,
  toAsk,
} from "@/lib/known-sessions";
import { changeKnown, readKnown } from "@/lib/token";
import { session } from "./samples";

const EXPIRY = Date.parse("2026-11-23T10:00:00.000Z");
const HOUR = 3_600_000;
const one = session("completed");
const known = remember([], [one]);

function receipt(reason: Receipt["statement"]["reason"]): Receipt {
  const statement = {
    type: "tryonai.deletion" as const,
    version: 1 as const,
    session_sha256: "",
    reason,
    erased_at: "2026-11-23T10:00:03.000Z",
    pictures: [],
    others: 0,
  };
  return { id: "r", statement, key_id: "k", signature: "s" };
}

describe("what is remembered", () => {
  test("is an id, a garment of the catalogue and times, and nothing that opens a picture", () => {
    expect(known).toEqual([
      {
        id: "one",
        garmentId: "henley",
        expiresAt: "2026-11-23T10:00:00.000Z",
        erasedAt: null,
        askedMs: null,
      },
    ]);
  });

  test("has an end", () => {
    const many = Array.from({ length: 30 }, (_, index) => session("completed", { id: `${index}` }));

    const after = remember(known, many);

    expect(after.map((kept) => kept.id)).toEqual(many.slice(0, MOST_KNOWN).map(({ id }) => id));
  });

  test("is forgotten when the visitor says so", () => {
    expect(forget(known, ["one"])).toEqual([]);
  });
});

describe("an expired session", () => {
  test("is no erased one while the server names it", () => {
    expect(erased(known, [one], EXPIRY + HOUR)).toEqual([]);
    expect(toAsk(known, [one], true, EXPIRY + HOUR)).toEqual([]);
  });

  test("is told at its time, and its receipt asked for once the server had its seconds", () => {
    expect(erased(known, [], EXPIRY - HOUR)).toEqual([]);
    expect(erased(known, [], EXPIRY)).toEqual(known);
    expect(toAsk(known, [], false, EXPIRY)).toEqual([]);
    expect(toAsk(known, [], false, EXPIRY + SETTLED_MS)).toEqual(known);
  });

  test("has the time of its receipt, which is asked for again after a day", () => {
    const after = settle(known, "one", receipt("expiry"), EXPIRY + HOUR);

    expect(after[0]?.erasedAt).toBe("2026-11-23T10:00:03.000Z");
    expect(toAsk(after, [], true, EXPIRY + 2 * HOUR)).toEqual([]);
    expect(toAsk(after, [], true, EXPIRY + 26 * HOUR)).toEqual(after);
  });

  test("is forgotten when its receipt is", () => {
    const before = settle(known, "one", receipt("expiry"), EXPIRY + HOUR);

    expect(settle(before, "one", null, EXPIRY + 100 * 24 * HOUR)).toEqual([]);
  });

  test("waits some minutes for its receipt, and is not asked for at once again", () => {
    const waiting = settle(known, "one", null, EXPIRY + 20_000);

    expect(waiting).toHaveLength(1);
    expect(toAsk(waiting, [], true, EXPIRY + 21_000)).toEqual([]);
    expect(toAsk(waiting, [], true, EXPIRY + 25_000)).toEqual(waiting);
    expect(settle(waiting, "one", null, EXPIRY + HOUR)).toEqual([]);
  });
});

describe("a session that the server no longer names a moment before its time", () => {
  const moment = EXPIRY - 400; // the clock is known to the second at best

  test("is told as expired, and its receipt not asked for yet", () => {
    expect(erased(known, [], moment)).toEqual(known);
    expect(toAsk(known, [], true, moment)).toEqual([]);
  });

  test("is kept where its receipt was asked for and is not there yet", () => {
    expect(settle(known, "one", null, moment)).toHaveLength(1);
  });
});

describe("a session that is missing before its time", () => {
  test("is asked for where the server has named all there are", () => {
    expect(toAsk(known, [], true, EXPIRY - HOUR)).toEqual(known);
    expect(toAsk(known, [], false, EXPIRY - HOUR)).toEqual([]);
  });

  test("leaves nothing where its owner deleted it, in another tab perhaps", () => {
    expect(settle(known, "one", receipt("request"), EXPIRY - HOUR)).toEqual([]);
  });

  test("leaves nothing where there is no receipt", () => {
    expect(settle(known, "one", null, EXPIRY - HOUR)).toEqual([]);
  });
});

describe("in this browser's storage", () => {
  beforeEach(() => localStorage.clear());

  test("it survives a reload, and an empty list leaves nothing", () => {
    changeKnown(() => known);
    expect(readKnown()).toEqual(known);

    changeKnown(() => []);
    expect(localStorage.length).toBe(0);
  });

  test.each(["", "{", "7", '[{"id": 7}]', "[null]"])("%s is no list", (text) => {
    localStorage.setItem("tryonai.known", text);

    expect(readKnown()).toEqual([] as Known[]);
  });
});
