import { ArrowRight, Check, Code, LockKeyhole } from "lucide-react";
import { Compare } from "@/components/demo/compare";
import { buttonClass } from "@/components/ui/button";
import { messages } from "@/lib/messages";

const words = messages.hero;

export function Hero({ docs }: { docs: string }) {
  return (
    <section className="pt-10 pb-14 lg:pt-19 lg:pb-21">
      <div className="mx-auto grid w-[min(1200px,100%-2rem)] items-center gap-10 lg:w-[min(1200px,100%-3rem)] lg:grid-cols-[1.08fr_.92fr] lg:gap-16">
        <div>
          <span className="mb-5.5 inline-flex items-center gap-2 rounded-full bg-accent-soft px-3.5 py-1.5 text-sm font-medium text-accent-text">
            <LockKeyhole aria-hidden className="size-4" /> {words.eyebrow}
          </span>
          <h1 className="heading text-[clamp(40px,6.1vw,76px)] font-[650] tracking-[-.04em]">
            {words.title}
          </h1>
          <p className="mt-5.5 mb-7.5 max-w-[33em] text-lg leading-normal text-pretty text-mute lg:text-xl">
            {words.lead}
          </p>
          <div className="flex flex-wrap gap-3">
            <a href="#preview" className={buttonClass("accent")}>
              {words.tryIt} <ArrowRight aria-hidden className="size-[18px]" />
            </a>
            <a href={docs} className={buttonClass()}>
              <Code aria-hidden className="size-[18px]" /> {words.docs}
            </a>
          </div>
          <ul className="mt-9 flex list-none flex-wrap gap-x-7 gap-y-3 p-0 text-[15px]">
            {words.facts.map((fact) => (
              <li key={fact} className="flex items-center gap-2">
                <Check aria-hidden className="size-[18px] text-ok" /> {fact}
              </li>
            ))}
          </ul>
        </div>
        <div className="relative pr-3 pb-8 lg:pr-6.5">
          <Compare
            before="/hero/before.webp"
            after="/hero/after.webp"
            altBefore={words.alt.before}
            altAfter={words.alt.after}
            label={words.compare}
            fit="cover"
            className="aspect-[4/4.7] rounded-[28px] shadow-lift"
            eager
          />
          <div className="absolute right-0 bottom-16 w-26 rounded-[18px] border border-line bg-card p-3 shadow-lift lg:-right-2 lg:w-33">
            <img
              src="/hero/garment.webp"
              alt={words.alt.garment}
              width={216}
              height={288}
              className="aspect-square w-full rounded-lg bg-white object-cover"
            />
            <p className="mt-2 text-[13px] font-semibold">{words.garment}</p>
            <p className="text-[13px] text-mute max-lg:hidden">{words.garmentKind}</p>
          </div>
          <div className="absolute bottom-0 -left-1.5 flex items-center gap-3 rounded-[18px] border border-line bg-card px-4.5 py-3.5 shadow-lift lg:-left-6.5">
            <Check aria-hidden className="size-5 text-ok" />
            <p className="text-[13px] text-mute">
              <span className="block text-sm font-medium text-ink">{words.caption}</span>
              {words.hint}
            </p>
          </div>
        </div>
      </div>
    </section>
  );
}
