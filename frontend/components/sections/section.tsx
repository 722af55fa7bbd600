import type { ReactNode } from "react";

interface SectionProps {
  id: string;
  title: string;
  lead?: string;
  sunk?: boolean;
  children: ReactNode;
}

export function Section({ id, title, lead, sunk = false, children }: SectionProps) {
  return (
    <section
      id={id}
      aria-labelledby={`${id}-title`}
      className={`py-14 lg:py-24 ${sunk ? "border-y border-line bg-sunk" : ""}`}
    >
      <div className="mx-auto w-[min(1200px,100%-2rem)] lg:w-[min(1200px,100%-3rem)]">
        <h2 id={`${id}-title`} className="heading text-[clamp(30px,3.6vw,44px)] font-semibold">
          {title}
        </h2>
        {lead && <p className="mt-2.5 max-w-[44em] text-mute">{lead}</p>}
        {children}
      </div>
    </section>
  );
}
