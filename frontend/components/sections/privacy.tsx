import { EyeOff, Hourglass, KeyRound, Trash2 } from "lucide-react";
import { messages } from "@/lib/messages";
import { Section } from "./section";

const ICONS = [EyeOff, KeyRound, Hourglass, Trash2];

export function Privacy() {
  const words = messages.privacy;
  return (
    <Section id="privacy" title={words.title} lead={words.lead}>
      <ul className="mt-9 grid list-none gap-5 p-0 sm:grid-cols-2">
        {words.facts.map(([title, text], index) => {
          const Icon = ICONS[index % ICONS.length] ?? EyeOff;
          return (
            <li key={title} className="panel flex gap-4.5 p-6">
              <span
                aria-hidden
                className="grid size-11 shrink-0 place-items-center rounded-xl bg-ok-soft text-ok"
              >
                <Icon className="size-5" />
              </span>
              <div>
                <h3 className="heading text-lg font-semibold">{title}</h3>
                <p className="mt-1.5 text-pretty text-mute">{text}</p>
              </div>
            </li>
          );
        })}
      </ul>
    </Section>
  );
}
