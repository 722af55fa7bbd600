import type { ReactNode } from "react";

const TONES = {
  ok: "bg-ok-soft text-ok",
  busy: "bg-accent-soft text-accent-text",
  bad: "bg-bad-soft text-bad",
  quiet: "bg-sunk text-mute",
};

export function Badge({ tone, children }: { tone: keyof typeof TONES; children: ReactNode }) {
  return (
    <span className={`rounded-full px-2.5 py-0.5 text-[12.5px] font-medium ${TONES[tone]}`}>
      {children}
    </span>
  );
}
