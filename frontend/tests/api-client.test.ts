import { HttpResponse, http } from "msw";
import { setupServer } from "msw/node";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { ApiError, createClient, NoAnswer } from "@/lib/api-client";
import { session } from "./samples";

const BASE = "http://tryon.test";
const SESSIONS = `${BASE}/api/tryon/sessions`;
const server = setupServer();
beforeAll(() => server.listen({ onUnhandledRequest: "error" }));
afterEach(() => server.resetHandlers());
afterAll(() => server.close());

const client = createClient({ base: BASE, token: () => "my-own-secret" });
const never = new AbortController().signal;
const upload = { key: "a-key", onProgress: () => undefined, signal: never };
const form = { person_image: new Blob(["photo"], { type: "image/jpeg" }), garment_id: "henley" };
const refusal = { code: "rate_limited", title: "Too many requests", detail: "Wait 42 s." };
const receipt = { id: "r", statement: { version: 1 }, key_id: "k", signature: "s" };

test("a create carries the form, the owner and its key", async () => {
  let sent: FormData | undefined;
  let key: string | null = null;
  server.use(
    http.post(SESSIONS, async ({ request }) => {
      key = request.headers.get("Idempotency-Key");
      sent = await request.formData();
      return HttpResponse.json(session("created"), { status: 201 });
    }),
  );

  const made = await client.create(form, upload);

  expect(made.id).toBe("one");
  expect(key).toBe("a-key");
  expect(sent?.get("user_token")).toBe("my-own-secret");
  expect(sent?.get("garment_id")).toBe("henley");
  expect(sent?.get("person_image")).toBeInstanceOf(Blob);
});

test("a create that was answered before is no second one", async () => {
  server.use(http.post(SESSIONS, () => HttpResponse.json(session("completed"))));

  expect((await client.create(form, upload)).status).toBe("completed");
});

test("a refused create tells the problem and when to come back", async () => {
  server.use(
    http.post(SESSIONS, () =>
      HttpResponse.json(refusal, { status: 429, headers: { "Retry-After": "42" } }),
    ),
  );

  const reason = await client.create(form, upload).catch((error) => error);

  expect(reason).toBeInstanceOf(ApiError);
  expect(reason).toMatchObject({ status: 429, problem: refusal, retryAfterS: 42 });
});

test("a create that a proxy refuses in HTML is a problem all the same", async () => {
  server.use(http.post(SESSIONS, () => new HttpResponse("<h1>Bad gateway</h1>", { status: 502 })));

  const reason = await client.create(form, upload).catch((error) => error);

  expect(reason).toMatchObject({ status: 502, problem: { code: "unavailable" } });
});

test("a create without an answer says so", async () => {
  server.use(http.post(SESSIONS, () => HttpResponse.error()));

  await expect(client.create(form, upload)).rejects.toBeInstanceOf(NoAnswer);
});

test("a create can be stopped", async () => {
  server.use(http.post(SESSIONS, () => new Promise<never>(() => undefined)));
  const stop = new AbortController();
  const answer = client.create(form, { ...upload, signal: stop.signal });

  stop.abort();

  await expect(answer).rejects.toBe(stop.signal.reason);
});

test("a poll sends the owner, what it knows and how long it would wait", async () => {
  let headers: Headers | undefined;
  server.use(
    http.get(`${SESSIONS}/one`, ({ request }) => {
      headers = request.headers;
      return new HttpResponse(null, {
        status: 304,
        headers: { "Preference-Applied": "wait=20" },
      });
    }),
  );

  const seen = await client.read("one", { etag: '"e"', waitS: 20, signal: never });

  expect(headers?.get("X-User-Token")).toBe("my-own-secret");
  expect(headers?.get("If-None-Match")).toBe('"e"');
  expect(headers?.get("Prefer")).toBe("wait=20");
  expect(seen).toEqual({ session: null, etag: '"e"', waited: true });
});

test("a poll brings the session and its tag", async () => {
  server.use(
    http.get(`${SESSIONS}/one`, () =>
      HttpResponse.json(session("processing"), { headers: { ETag: '"f"' } }),
    ),
  );

  const seen = await client.read("one", { etag: null, waitS: 20, signal: never });

  expect(seen).toEqual({ session: session("processing"), etag: '"f"', waited: false });
});

test("the owner is made at the first call, and once, where nothing is stored", async () => {
  const owners: (string | null)[] = [];
  server.use(
    http.get(SESSIONS, ({ request }) => {
      owners.push(request.headers.get("X-User-Token"));
      return HttpResponse.json({ items: [], next_cursor: null });
    }),
  );
  const secrets = ["secret-1", "secret-2"];
  const forgetful = createClient({ base: BASE, token: () => secrets.shift() ?? "" });
  expect(secrets).toHaveLength(2);

  await forgetful.list();
  await forgetful.list();

  expect(owners).toEqual(["secret-1", "secret-1"]);
});

test("reading what is gone says which error it is", async () => {
  const gone = { code: "session_expired", title: "Gone", detail: "Make a new one." };
  server.use(http.get(`${SESSIONS}/one`, () => HttpResponse.json(gone, { status: 410 })));

  const answer = client.read("one", { etag: null, waitS: 0, signal: never });

  await expect(answer).rejects.toMatchObject({ status: 410, problem: gone });
});

test("the clock is the server's", async () => {
  const date = "Sun, 22 Nov 2020 10:00:00 GMT";
  server.use(
    http.get(SESSIONS, () =>
      HttpResponse.json({ items: [], next_cursor: null }, { headers: { Date: date } }),
    ),
  );

  await client.list();

  expect(Math.abs(client.now() - Date.parse(date))).toBeLessThan(2_000);
});

test.each([
  ["one receipt", HttpResponse.json(receipt), [receipt]],
  ["several", HttpResponse.json({ items: [receipt, receipt] }), [receipt, receipt]],
  ["none, from a server without", new HttpResponse(null, { status: 204 }), []],
])("erasing everything brings %s", async (_, answer, expected) => {
  let prefer: string | null = null;
  server.use(
    http.delete(SESSIONS, ({ request }) => {
      prefer = request.headers.get("Prefer");
      return answer;
    }),
  );

  expect(await client.eraseAll()).toEqual(expected);
  expect(prefer).toBe("return=representation");
});

test("the list goes on to its last page", async () => {
  const cursors: (string | null)[] = [];
  server.use(
    http.get(SESSIONS, ({ request }) => {
      const cursor = new URL(request.url).searchParams.get("cursor");
      cursors.push(cursor);
      const items = [session("completed", { id: cursor ?? "first" })];
      return HttpResponse.json({ items, next_cursor: cursor === null ? "second" : null });
    }),
  );

  const { sessions, more } = await client.list();

  expect(sessions.map((one) => one.id)).toEqual(["first", "second"]);
  expect(more).toBe(false);
  expect(cursors).toEqual([null, "second"]);
});

test("a list without an end is read to a bound, and says so", async () => {
  let calls = 0;
  server.use(
    http.get(SESSIONS, () => {
      calls += 1;
      return HttpResponse.json({ items: [], next_cursor: "on and on" });
    }),
  );

  expect((await client.list()).more).toBe(true);
  expect(calls).toBe(10);
});

test("a receipt is asked for without the owner, and may be missing", async () => {
  const tokens: (string | null)[] = [];
  server.use(
    http.get(`${BASE}/api/tryon/receipts/:id`, ({ request, params }) => {
      tokens.push(request.headers.get("X-User-Token"));
      if (params.id === "one") return HttpResponse.json(receipt);
      return HttpResponse.json({ ...refusal, code: "receipt_not_found" }, { status: 404 });
    }),
  );

  expect(await client.receipt("one")).toEqual(receipt);
  expect(await client.receipt("two")).toBeNull();
  expect(tokens).toEqual([null, null]);
});

test("erasing one brings its receipt, or null", async () => {
  server.use(
    http.delete(`${SESSIONS}/one`, () => HttpResponse.json(receipt)),
    http.delete(`${SESSIONS}/two`, () => new HttpResponse(null, { status: 204 })),
  );

  expect(await client.erase("one")).toEqual(receipt);
  expect(await client.erase("two")).toBeNull();
});

test("an erasure that the server could not finish is no success", async () => {
  const away = { code: "unavailable", title: "Away", detail: "Later." };
  server.use(http.delete(SESSIONS, () => HttpResponse.json(away, { status: 503 })));

  await expect(client.eraseAll()).rejects.toMatchObject({ status: 503 });
});

test("pictures of a session need the owner, those of the catalogue do not", async () => {
  const tokens: (string | null)[] = [];
  server.use(
    http.get(`${BASE}/api/tryon/*`, ({ request }) => {
      tokens.push(request.headers.get("X-User-Token"));
      return new HttpResponse("bytes", { headers: { "Content-Type": "image/webp" } });
    }),
  );

  const output = await client.picture("/api/tryon/sessions/one/output");
  await client.picture("/api/tryon/people/ada/image");

  expect(output.type).toBe("image/webp");
  expect(tokens).toEqual(["my-own-secret", null]);
});

test("a server in trouble still says how it is", async () => {
  const health = { status: "unavailable", version: "1", parts: {} };
  server.use(http.get(`${BASE}/api/health`, () => HttpResponse.json(health, { status: 503 })));

  expect((await client.health()).status).toBe("unavailable");
});

test("a proxy in front of it that says 503 says nothing of the server", async () => {
  server.use(
    http.get(`${BASE}/api/health`, () => new HttpResponse("<h1>Away</h1>", { status: 503 })),
  );

  await expect(client.health()).rejects.toMatchObject({ status: 503 });
});
