import type { LucideIcon } from "lucide-react";
import type { ReactNode } from "react";

const TONES = {
  bad: "bg-bad-soft text-bad",
  warn: "bg-warn-soft text-warn",
  quiet: "bg-sunk text-ink",
};

interface NoteProps {
  tone: keyof typeof TONES;
  icon: LucideIcon;
  title: string;
  children?: ReactNode;
  /** Read out at once; for what the visitor has to act on. */
  alert?: boolean;
}

export function Note({ tone, icon: Icon, title, children, alert = false }: NoteProps) {
  return (
    <div
      role={alert ? "alert" : undefined}
      className={`flex gap-3 rounded-[14px] px-4 py-3.5 text-[14.5px] ${TONES[tone]} animate-[rise_.25s_ease-out]`}
    >
      <Icon aria-hidden className="mt-0.5 size-[18px] shrink-0" />
      <div className="min-w-0 break-words">
        <strong className="font-semibold">{title}</strong>
        {children && <div className="text-pretty">{children}</div>}
      </div>
    </div>
  );
}
