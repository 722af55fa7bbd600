import { useEffect, useState } from "react";

/** The time by `clock`, anew each `everyMs` while `active`. */
export function useNow(clock: () => number, active: boolean, everyMs = 1000): number {
  const [now, setNow] = useState(clock);
  useEffect(() => {
    if (!active) return;
    setNow(clock());
    const timer = setInterval(() => setNow(clock()), everyMs);
    return () => clearInterval(timer);
  }, [active, clock, everyMs]);
  return now;
}
