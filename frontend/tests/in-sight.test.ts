import { expect, test } from "vitest";
import { shareInSight } from "@/lib/use-in-sight";

const view = { top: 80, bottom: 680 };

test.each([
  ["a box within", { top: 100, bottom: 400 }, 1],
  ["one that covers the view", { top: 0, bottom: 900 }, 1],
  ["one below", { top: 700, bottom: 1000 }, 0],
  ["one above", { top: -300, bottom: 60 }, 0],
  ["one half below", { top: 480, bottom: 880 }, 0.5],
  ["a tall one that has begun", { top: 380, bottom: 1400 }, 0.5],
  ["nothing at all", { top: 100, bottom: 100 }, 0],
])("%s", (_, box, share) => {
  expect(shareInSight(box, view)).toBe(share);
});
