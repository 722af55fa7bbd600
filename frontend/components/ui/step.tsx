import { Check } from "lucide-react";
import type { ReactNode } from "react";

interface StepProps {
  number: number;
  title: string;
  done: boolean;
  aside?: ReactNode;
}

/** The head of a column: its number until it is done. */
export function Step({ number, title, done, aside }: StepProps) {
  return (
    <div className="mb-4 flex min-h-7 items-center gap-2.5">
      <span
        aria-hidden
        className={`grid size-7 place-items-center rounded-full text-sm font-semibold ${
          done ? "bg-ok-soft text-ok" : "bg-ink text-paper"
        }`}
      >
        {done ? <Check className="size-4" /> : number}
      </span>
      <h3 className="heading shrink-0 text-lg font-semibold">{title}</h3>
      {aside && (
        <span className="ml-auto min-w-0 truncate text-[13px] text-mute tabular-nums">{aside}</span>
      )}
    </div>
  );
}
