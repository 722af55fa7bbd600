import { messages } from "@/lib/messages";
import { Section } from "./section";

export function HowItWorks() {
  const words = messages.how;
  return (
    <Section id="how" title={words.title}>
      <ol className="mt-9 grid list-none gap-8 p-0 md:grid-cols-3">
        {words.steps.map(([title, text], index) => (
          <li key={title}>
            <span
              aria-hidden
              className="heading grid size-11 place-items-center rounded-full bg-accent-soft text-xl font-semibold text-accent-text"
            >
              {index + 1}
            </span>
            <h3 className="heading mt-4 text-xl font-semibold">{title}</h3>
            <p className="mt-2 text-pretty text-mute">{text}</p>
          </li>
        ))}
      </ol>
    </Section>
  );
}
