/** What the server offers: garments, sample people, and the engine that is used. */

import { useCallback, useEffect, useState } from "react";
import type { Client, Engine, Garment, Person } from "./api-client";

/** How soon a server that did not answer is asked again. */
const AGAIN_MS = 10_000;

export interface Catalogue {
  garments: Garment[];
  people: Person[];
  /** The default one; null until the server has said. */
  engine: Engine | null;
  status: "loading" | "ready" | "failed";
  reload(): void;
}

export function useCatalogue(client: Client): Catalogue {
  const [offered, setOffered] = useState<Omit<Catalogue, "reload">>({
    garments: [],
    people: [],
    engine: null,
    status: "loading",
  });

  const reload = useCallback(async () => {
    try {
      const [garments, people, engines] = await Promise.all([
        client.garments(),
        client.people(),
        client.engines(),
      ]);
      const engine = engines.find((one) => one.default) ?? null;
      setOffered({ garments, people, engine, status: "ready" });
    } catch {
      setOffered((before) => ({ ...before, status: "failed" }));
    }
  }, [client]);

  useEffect(() => void reload(), [reload]);

  const failed = offered.status === "failed";
  useEffect(() => {
    if (!failed) return;
    const timer = setInterval(reload, AGAIN_MS);
    window.addEventListener("online", reload);
    return () => {
      clearInterval(timer);
      window.removeEventListener("online", reload);
    };
  }, [failed, reload]);

  return { ...offered, reload };
}
