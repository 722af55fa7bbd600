/** Brings what was asked for before the visitor's eyes: on a phone it lies a screen away. */

import { type RefObject, useCallback, useEffect, useRef } from "react";
import type { Run } from "./reducer";

export interface Span {
  top: number;
  bottom: number;
}

/** So much of it in sight is enough: what lies beside the button on a wide screen stays put. */
const ENOUGH = 0.6;
/** After the last sign of a scroll it may go on by itself: inertia, a finger that rests. */
const UNDER_WAY_MS = 250;

const SCROLL_KEYS = ["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", "Tab"];

/** How much of a box is seen, of what there is room for, 0–1. */
export function shareInSight(box: Span, view: Span): number {
  const seen = Math.min(box.bottom, view.bottom) - Math.max(box.top, view.top);
  const room = Math.min(box.bottom - box.top, view.bottom - view.top);
  return room > 0 ? Math.max(0, seen) / room : 0;
}

/**
 * Scrolls to the target when a try-on begins, and again when it has ended, unless the visitor has
 * scrolled meanwhile. The focus stays where it is.
 *
 * bar: covers the lower end of the screen while it is sticky there.
 * Returns a function that scrolls there at once.
 */
export function useInSight(
  target: RefObject<HTMLElement | null>,
  bar: RefObject<HTMLElement | null>,
  phase: Run["phase"],
): () => void {
  const moved = useRef(Number.NEGATIVE_INFINITY);
  const begun = useRef<number | null>(null);

  const bring = useCallback(() => {
    const element = target.current;
    if (element === null) return;
    if (shareInSight(element.getBoundingClientRect(), viewBeside(bar.current)) >= ENOUGH) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block: "start", behavior: still ? "instant" : "smooth" });
  }, [target, bar]);

  useEffect(() => {
    const stop = new AbortController();
    const options = { signal: stop.signal, passive: true };
    const note = () => {
      moved.current = performance.now();
    };
    window.addEventListener("wheel", note, options);
    window.addEventListener("touchmove", note, options);
    window.addEventListener("keydown", ({ key }) => SCROLL_KEYS.includes(key) && note(), options);
    // The scroll bar of the page.
    window.addEventListener(
      "pointerdown",
      ({ target }) => target === document.documentElement && note(),
      options,
    );
    return () => stop.abort();
  }, []);

  useEffect(() => {
    if (phase === "uploading") {
      begun.current = performance.now();
      if (begun.current - moved.current > UNDER_WAY_MS) bring();
    } else if (phase !== "working" && begun.current !== null) {
      if (moved.current < begun.current && phase !== "idle") bring();
      begun.current = null;
    }
  }, [phase, bring]);

  return bring;
}

/** The part of the screen that nothing sticks over. */
function viewBeside(bar: HTMLElement | null): Span {
  const page = getComputedStyle(document.documentElement);
  const sticks = bar !== null && getComputedStyle(bar).position === "sticky";
  return {
    top: Number.parseFloat(page.scrollPaddingTop) || 0,
    bottom: window.innerHeight - (sticks ? bar.getBoundingClientRect().height : 0),
  };
}
