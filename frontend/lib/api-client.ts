/**
 * The server, as the page sees it. Types come from its OpenAPI document (`npm run gen:api`).
 *
 * Reads go through `openapi-fetch`. The one upload goes through XMLHttpRequest, because `fetch`
 * cannot tell how much of a body has left.
 */

import createFetch from "openapi-fetch";
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type Session = Schemas["SessionOut"];
export type Garment = Schemas["GarmentOut"];
export type Person = Schemas["PersonOut"];
export type Engine = Schemas["EngineOut"];
export type EngineLimits = Schemas["EngineLimits"];
export type Receipt = Schemas["DeletionReceipt"];
export type Health = Schemas["Health"];
export type Problem = Schemas["Problem"];
type CreateForm = Schemas["CreateForm"];

/** A create without the owner, which the client adds; files are blobs, everything else is text. */
export type NewSession = Omit<
  Partial<Record<keyof CreateForm, string>>,
  "person_image" | "garment_image" | "user_token"
> & { person_image: Blob; garment_image?: Blob };

/** The server answered, and said no. */
export class ApiError extends Error {
  readonly status: number;
  readonly problem: Pick<Problem, "code" | "title" | "detail">;
  /** Seconds until another try makes sense, where the server said so. */
  readonly retryAfterS: number | null;

  constructor(status: number, problem: ApiError["problem"], retryAfterS: number | null) {
    super(problem.detail);
    this.status = status;
    this.problem = problem;
    this.retryAfterS = retryAfterS;
  }
}

/** No answer came: no network, no server, or a browser that refused. */
export class NoAnswer extends Error {}

export interface Seen {
  /** Null where it is as the `etag` says. */
  session: Session | null;
  etag: string | null;
  /** Whether the server held the answer back until something changed. */
  waited: boolean;
}

export interface Listed {
  sessions: Session[];
  more: boolean;
}

export interface Client {
  /** Makes relative addresses of the API loadable from another origin. */
  address(path: string): string;
  /** Milliseconds of the server's clock, as far as its last `Date` header tells. */
  now(): number;
  create(
    session: NewSession,
    options: { key: string; onProgress: (sent: number) => void; signal: AbortSignal },
  ): Promise<Session>;
  read(
    id: string,
    options: { etag: string | null; waitS: number; signal: AbortSignal },
  ): Promise<Seen>;
  /** All of them, newest first; `more` where there were too many to read. */
  list(): Promise<Listed>;
  /** Null where the server keeps no receipts. */
  erase(id: string): Promise<Receipt | null>;
  eraseAll(): Promise<Receipt[]>;
  /** The kept receipt of a session's erasure; null where there is none. */
  receipt(sessionId: string): Promise<Receipt | null>;
  picture(path: string, signal?: AbortSignal): Promise<Blob>;
  garments(): Promise<Garment[]>;
  people(): Promise<Person[]>;
  engines(): Promise<Engine[]>;
  health(): Promise<Health>;
}

const SESSIONS = "/api/tryon/sessions";
/** Of 100 sessions; nobody makes more in the time that a server keeps them. */
const MOST_PAGES = 10;
const RECEIPT = "/api/tryon/receipts/{receipt_id}";
const ONE = "/api/tryon/sessions/{session_id}";

interface ClientOptions {
  /** Empty for the page's own origin, or another's, such as `https://tryon.example.com`. */
  base?: string;
  /** Makes or remembers the owner; asked once, at the first call that needs one. */
  token: () => string;
}

export function createClient({ base = "", token }: ClientOptions): Client {
  let offsetMs = 0;
  let mine: string | null = null;
  function own(): string {
    mine ??= token();
    return mine;
  }
  const owner = () => ({ "X-User-Token": own() });

  async function tracked(request: Request): Promise<Response> {
    const response = await answered(fetch(request));
    offsetMs = readClock(response.headers.get("Date")) ?? offsetMs;
    return response;
  }
  const api = createFetch<paths>({ baseUrl: base || ownOrigin(), fetch: tracked });

  async function eraseAt(
    answer: Promise<{ data?: unknown; error?: unknown; response: Response }>,
  ): Promise<Receipt[]> {
    const { data, error, response } = await answer;
    if (!response.ok) throw refusal(response.status, error, response.headers.get("Retry-After"));
    return readReceipts(data);
  }

  return {
    address: (path) => base + path,
    now: () => Date.now() + offsetMs,

    create: (session, options) =>
      upload(base + SESSIONS, { ...session, user_token: own() }, options),

    async read(id, { etag, waitS, signal }) {
      const headers: Record<string, string> = { ...owner(), Prefer: `wait=${waitS}` };
      if (etag !== null) headers["If-None-Match"] = etag;
      const path = { session_id: id };
      const { data, error, response } = await api.GET(ONE, { params: { path }, headers, signal });
      const waited = response.headers.has("Preference-Applied");
      if (response.status === 304) return { session: null, etag, waited };
      const session = must(data, error, response);
      return { session, etag: response.headers.get("ETag"), waited };
    },

    async list() {
      const sessions: Session[] = [];
      let cursor: string | null | undefined;
      for (let page = 0; page < MOST_PAGES && cursor !== null; page += 1) {
        const params = { query: { limit: 100, ...(cursor ? { cursor } : {}) } };
        const { data, error, response } = await api.GET(SESSIONS, { params, headers: owner() });
        const listed = must(data, error, response);
        sessions.push(...listed.items);
        cursor = listed.next_cursor;
      }
      return { sessions, more: cursor !== null };
    },

    async erase(id) {
      const params = { path: { session_id: id } };
      const receipts = await eraseAt(api.DELETE(ONE, { params, headers: proving(owner()) }));
      return receipts[0] ?? null;
    },
    eraseAll: () => eraseAt(api.DELETE(SESSIONS, { headers: proving(owner()) })),

    async receipt(sessionId) {
      const path = { receipt_id: sessionId };
      const { data, error, response } = await api.GET(RECEIPT, { params: { path } });
      return response.status === 404 ? null : must(data, error, response);
    },

    async picture(path, signal = new AbortController().signal) {
      // The catalogue is open to all: there the token would only cost a preflight.
      const headers = path.startsWith(SESSIONS) ? owner() : {};
      const response = await tracked(
        new Request(new URL(base + path, location.href), { headers, signal }),
      );
      if (!response.ok) throw refusal(response.status, await body(response), null);
      return answered(response.blob());
    },

    async garments() {
      const { data, error, response } = await api.GET("/api/tryon/garments");
      return must(data, error, response).items;
    },
    async people() {
      const { data, error, response } = await api.GET("/api/tryon/people");
      return must(data, error, response).items;
    },
    async engines() {
      const { data, error, response } = await api.GET("/api/tryon/engines");
      return must(data, error, response).items;
    },
    async health() {
      const { data, error, response } = await api.GET("/api/health");
      // 503 carries the same body: that, too, is an answer to "how are you".
      if (response.status === 503 && isHealth(error)) return error;
      return must(data, error, response);
    },
  };
}

/** Empty where the page is rendered on a server: nothing is fetched there. */
function ownOrigin(): string {
  return typeof location === "undefined" ? "" : location.origin;
}

function proving(headers: Record<string, string>): Record<string, string> {
  return { ...headers, Prefer: "return=representation" };
}

/** The one upload. An abort rejects with the signal's own reason. */
function upload(
  url: string,
  form: Record<string, string | Blob>,
  options: { key: string; onProgress: (sent: number) => void; signal: AbortSignal },
): Promise<Session> {
  const data = new FormData();
  for (const [name, value] of Object.entries(form)) data.append(name, value);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => {
      request.abort();
      reject(options.signal.reason);
    };
    request.open("POST", url);
    request.setRequestHeader("Idempotency-Key", options.key);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) options.onProgress(event.loaded / event.total);
    };
    request.onload = () => {
      const answer = parse(request.responseText);
      if (request.status < 300 && answer !== null) resolve(answer as Session);
      else reject(refusal(request.status, answer, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(new NoAnswer("no answer to the upload"));
    request.onloadend = () => options.signal.removeEventListener("abort", abort);
    options.signal.addEventListener("abort", abort);
    if (options.signal.aborted) abort();
    else request.send(data);
  });
}

function must<T>(data: T | undefined, error: unknown, response: Response): T {
  if (data !== undefined) return data;
  throw refusal(response.status, error, response.headers.get("Retry-After"));
}

/** A problem document, or whatever a proxy in between has sent in its place. */
function refusal(status: number, answer: unknown, retryAfter: string | null): ApiError {
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
  const problem = isProblem(answer)
    ? answer
    : { code: "unavailable", title: `HTTP ${status}`, detail: "" };
  return new ApiError(status, problem, Number.isFinite(seconds) ? seconds : null);
}

function isProblem(answer: unknown): answer is Problem {
  return typeof answer === "object" && answer !== null && "code" in answer && "detail" in answer;
}

/** Of a proxy's own 503 nothing can be read. */
function isHealth(answer: unknown): answer is Health {
  return typeof answer === "object" && answer !== null && "status" in answer && "parts" in answer;
}

/** One receipt, a list of them, or nothing at all (204). */
function readReceipts(answer: unknown): Receipt[] {
  if (typeof answer !== "object" || answer === null) return [];
  const items = "items" in answer && Array.isArray(answer.items) ? answer.items : [answer];
  return items.filter((item): item is Receipt => "signature" in item && "statement" in item);
}

async function answered<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (reason) {
    // `fetch` says TypeError for everything that kept it from an answer.
    throw reason instanceof TypeError ? new NoAnswer(reason.message) : reason;
  }
}

async function body(response: Response): Promise<unknown> {
  return parse(await response.text());
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function readClock(date: string | null): number | null {
  const server = date === null ? Number.NaN : Date.parse(date);
  // The header has whole seconds, cut off: on average half a second is missing.
  return Number.isNaN(server) ? null : server + 500 - Date.now();
}
