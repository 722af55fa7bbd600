/** Sessions that were erased at their time: what this browser still knows of them. */

import { useCallback, useEffect, useMemo, useState } from "react";
import { type Client, NoAnswer, type Session } from "./api-client";
import { erased, forget, type Known, remember, settle, toAsk } from "./known-sessions";
import { type State, shownSession } from "./reducer";
import { changeKnown, readKnown } from "./token";

const FIRST_MS = 5_000;
const LONGEST_MS = 60_000;

export interface Erased {
  sessions: Known[];
  forget(ids: string[]): void;
}

export function useErased(client: Client, { history, more, run }: State): Erased {
  const shown = shownSession(run);
  /** What the server has named so far; null before it has named any. */
  const live = useMemo(() => {
    if (more === null) return null;
    const unlisted = shown !== null && history.every((one) => one.id !== shown.id);
    return unlisted ? [shown, ...history] : history;
  }, [history, more, shown]);
  const complete = more === false;
  const [known, setKnown] = useState<Known[]>([]);

  useEffect(() => {
    const read = () => setKnown(readKnown());
    read();
    window.addEventListener("storage", read); // another tab
    return () => window.removeEventListener("storage", read);
  }, []);

  const change = useCallback((how: (known: Known[]) => Known[]) => setKnown(changeKnown(how)), []);

  useEffect(() => {
    if (live === null) return;
    change((before) => remember(before, live));
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    void ask(FIRST_MS);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };

    async function ask(pauseMs: number) {
      for (const { id } of toAsk(readKnown(), live ?? [], complete, client.now())) {
        try {
          const receipt = await client.receipt(id);
          if (stop.signal.aborted) return;
          change((before) => settle(before, id, receipt, client.now()));
        } catch (reason) {
          // The others would fare no better now.
          if (reason instanceof NoAnswer) break;
        }
      }
      if (stop.signal.aborted || !waitsFor(readKnown(), live ?? [])) return;
      timer = setTimeout(() => void ask(Math.min(2 * pauseMs, LONGEST_MS)), pauseMs);
    }

    function waitsFor(known: Known[], live: Session[]): boolean {
      return erased(known, live, client.now()).some((one) => one.erasedAt === null);
    }
  }, [client, live, complete, change]);

  return {
    // A page that is rendered on a server asks no clock.
    sessions: known.length > 0 ? erased(known, live ?? [], client.now()) : [],
    forget: useCallback((ids) => change((before) => forget(before, ids)), [change]),
  };
}
