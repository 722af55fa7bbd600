import { useEffect, useState } from "react";

/** The time by `clock`, anew each `everyMs` while `active`; 0 while not, and no clock is asked. */
export function useNow(clock: () => number, active: boolean, everyMs = 1000): number {
  const [now, setNow] = useState<number | null>(null);
  useEffect(() => {
    if (!active) return;
    setNow(clock());
    const timer = setInterval(() => setNow(clock()), everyMs);
    return () => {
      clearInterval(timer);
      setNow(null);
    };
  }, [active, clock, everyMs]);
  if (!active) return 0;
  return now ?? clock();
}
