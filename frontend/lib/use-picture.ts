import { useCallback, useEffect, useState } from "react";
import type { Client } from "./api-client";

export type LoadedPicture =
  | { status: "none" | "loading" | "failed" }
  | { status: "ready"; blob: Blob; url: string };

/**
 * A picture of a session, as bytes: it shows, downloads and shares without another request, and
 * outlives the minutes that its address holds.
 *
 * kept: the same picture where this page has it already.
 */
export function useSessionPicture(
  client: Client,
  path: string | null,
  kept: Blob | null = null,
): [LoadedPicture, () => void] {
  const [picture, setPicture] = useState<LoadedPicture>({ status: "none" });
  const [attempt, setAttempt] = useState(0);
  // The query is the signature, which changes while the picture does not.
  const address = path?.split("?")[0] ?? null;

  // biome-ignore lint/correctness/useExhaustiveDependencies: another attempt is the same effect
  useEffect(() => {
    if (address === null) return setPicture({ status: "none" });
    const stop = new AbortController();
    let url: string | null = null;
    const show = (blob: Blob) => {
      if (stop.signal.aborted) return;
      url = URL.createObjectURL(blob);
      setPicture({ status: "ready", blob, url });
    };
    if (kept) show(kept);
    else {
      setPicture({ status: "loading" });
      client.picture(address, stop.signal).then(show, () => {
        if (!stop.signal.aborted) setPicture({ status: "failed" });
      });
    }
    return () => {
      stop.abort();
      if (url !== null) URL.revokeObjectURL(url);
    };
  }, [client, address, kept, attempt]);

  return [picture, useCallback(() => setAttempt((count) => count + 1), [])];
}
