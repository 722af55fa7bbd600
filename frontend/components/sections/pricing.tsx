import { Check } from "lucide-react";
import { buttonClass } from "@/components/ui/button";
import { messages } from "@/lib/messages";
import { Section } from "./section";

export function Pricing() {
  const words = messages.pricing;
  return (
    <Section id="pricing" title={words.title} sunk>
      <div className="panel mt-8 grid gap-8 p-6 md:grid-cols-[auto_1fr_auto] md:items-center md:gap-12 md:p-9">
        <div>
          <p className="font-medium text-mute">{words.plan}</p>
          <p className="heading text-6xl font-semibold">{words.price}</p>
        </div>
        <div>
          <p className="text-pretty">{words.text}</p>
          <ul className="mt-4 grid list-none gap-2 p-0 text-[15px]">
            {words.points.map((point) => (
              <li key={point} className="flex gap-2.5">
                <Check aria-hidden className="mt-0.5 size-[18px] shrink-0 text-ok" /> {point}
              </li>
            ))}
          </ul>
        </div>
        <a href="#preview" className={buttonClass("accent")}>
          {words.start}
        </a>
      </div>
    </Section>
  );
}
