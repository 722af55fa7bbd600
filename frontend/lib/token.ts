/**
 * What this browser keeps: the token that owns its sessions, which one is shown and which were seen,
 * and the colours.
 *
 * `crypto.randomUUID` is missing on http:// addresses of a local network; `getRandomValues` is not.
 */

import type { Known } from "./known-sessions";

const TOKEN = "tryonai.token";
const SHOWN = "tryonai.session";
const KNOWN = "tryonai.known";
const THEME = "tryonai.theme";

const WELL_FORMED = /^[A-Za-z0-9._~-]{8,255}$/;

/** 128 random bits in hex; also names a request for `Idempotency-Key`. */
export function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** This browser's anonymous owner. Where nothing can be stored it lives as long as the page. */
export function userToken(): string {
  const kept = read(TOKEN);
  if (kept !== null && WELL_FORMED.test(kept)) return kept;
  const made = randomName();
  write(TOKEN, made);
  return made;
}

/** The session that a reload shows again, and the sample person it began with, if one did. */
export interface Shown {
  id: string;
  personId: string | null;
}

export function readShown(): Shown | null {
  const [id, personId] = (read(SHOWN) ?? "").split(" ");
  return id ? { id, personId: personId || null } : null;
}

export function keepShown(shown: Shown | null): void {
  write(SHOWN, shown && `${shown.id} ${shown.personId ?? ""}`.trim());
}

export function readKnown(): Known[] {
  try {
    const kept: unknown = JSON.parse(read(KNOWN) ?? "[]");
    return Array.isArray(kept) ? kept.filter(isKnown) : [];
  } catch {
    return []; // somebody else wrote it
  }
}

/** Changes what is kept, which another tab may have changed meanwhile. */
export function changeKnown(how: (known: Known[]) => Known[]): Known[] {
  const known = how(readKnown());
  write(KNOWN, known.length > 0 ? JSON.stringify(known) : null);
  return known;
}

function isKnown(one: unknown): one is Known {
  return (
    typeof one === "object" &&
    one !== null &&
    "id" in one &&
    typeof one.id === "string" &&
    "expiresAt" in one &&
    typeof one.expiresAt === "string"
  );
}

export type Theme = "light" | "dark";

/** What the visitor chose; null follows the system. index.html reads it, too, before it paints. */
export function readTheme(): Theme | null {
  const kept = read(THEME);
  return kept === "light" || kept === "dark" ? kept : null;
}

export function keepTheme(theme: Theme): void {
  write(THEME, theme);
}

function read(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage is switched off
  }
}

function write(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // Storage is full or switched off: the page works, a reload forgets.
  }
}
