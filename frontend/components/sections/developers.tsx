import { ArrowRight, Check } from "lucide-react";
import { buttonClass } from "@/components/ui/button";
import { messages } from "@/lib/messages";
import { Section } from "./section";

const words = messages.developers;

export function Developers({ docs, origin }: { docs: string; origin: string }) {
  return (
    <Section id="developers" title={words.title} sunk>
      <div className="mt-8 grid items-start gap-10 lg:grid-cols-[.8fr_1.2fr] lg:gap-14 [&>*]:min-w-0">
        <div>
          <ul className="mb-8 grid list-none gap-3.5 p-0">
            {words.points.map((point) => (
              <li key={point} className="flex gap-3">
                <Check aria-hidden className="mt-0.5 size-5 shrink-0 text-accent-text" /> {point}
              </li>
            ))}
          </ul>
          <a href={docs} className={buttonClass("ink")}>
            {words.docs} <ArrowRight aria-hidden className="size-[18px]" />
          </a>
        </div>
        <Calls sessions={`${origin}/api/tryon/sessions`} />
      </div>
    </Section>
  );
}

/** The contract's three calls, ready to be copied. */
function Calls({ sessions }: { sessions: string }) {
  const [create, poll, fetch] = words.comments;
  return (
    // Focusable, because it scrolls sideways where it is narrow.
    <section
      aria-label={words.example}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
      tabIndex={0}
      className="overflow-auto rounded-[20px] bg-[#191613] px-7 py-6.5 font-mono text-[12.5px] leading-[1.75] text-[#ece5da] shadow-lift lg:text-sm"
    >
      <pre>
        <code>
          <Comment number={1} text={create} />
          curl <Flag>-F</Flag> person_image=<Value>@me.jpg</Value> <Flag>-F</Flag> garment_image=
          <Value>@shirt.jpg</Value> \{"\n"}
          {"     "}
          <Flag>-F</Flag> user_token=<Value>my-own-secret</Value> \{"\n"}
          {"     "}
          {sessions}
          {"\n\n"}
          <Comment number={2} text={poll} />
          curl <Flag>-H</Flag> <Value>'X-User-Token: my-own-secret'</Value> \{"\n"}
          {"     "}
          {sessions}/<Value>$ID</Value>
          {"\n\n"}
          <Comment number={3} text={fetch} />
          curl <Flag>-H</Flag> <Value>'X-User-Token: my-own-secret'</Value> <Flag>-o</Flag> look.jpg
          \{"\n"}
          {"     "}
          {sessions}/<Value>$ID</Value>/output
        </code>
      </pre>
    </section>
  );
}

function Comment({ number, text }: { number: number; text: string | undefined }) {
  return <span className="text-[#a89c91]">{`# ${number}  ${text}\n`}</span>;
}
const Flag = ({ children }: { children: string }) => (
  <span className="text-[#8fd3b0]">{children}</span>
);
const Value = ({ children }: { children: string }) => (
  <span className="text-[#f6b58a]">{children}</span>
);
