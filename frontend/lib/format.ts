/** Times and sizes for people. */

/** 47:12, or 3:07:45 from an hour on. */
export function clock(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60];
  const hours = Math.floor(seconds / 3600);
  const [minutes, rest] = parts.map((part) => String(part).padStart(2, "0"));
  return hours > 0 ? `${hours}:${minutes}:${rest}` : `${Number(minutes)}:${rest}`;
}

/** "8 s", "1.4 s" below ten, "2 min 5 s" above a minute. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** "23 h", "47 min", "30 s": the largest unit alone. */
export function roughly(ms: number): string {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** "812 KB", "1.2 MB". */
export function bytes(count: number): string {
  return count < 1e6
    ? `${Math.max(1, Math.round(count / 1e3))} KB`
    : `${(count / 1e6).toFixed(1)} MB`;
}

const INSTANT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const DATE = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const TIME = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });

export const instant = (at: string | number): string => INSTANT.format(new Date(at));
export const dayAndTime = (at: string | number): string => DAY.format(new Date(at));
export const dateAndTime = (at: string | number): string => DATE.format(new Date(at));
export const timeOfDay = (at: string | number): string => TIME.format(new Date(at));
