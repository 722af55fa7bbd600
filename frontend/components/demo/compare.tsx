import { ChevronsLeftRight } from "lucide-react";
import { type CSSProperties, useEffect, useState } from "react";
import { messages } from "@/lib/messages";

interface CompareProps {
  before: string;
  after: string;
  altBefore: string;
  altAfter: string;
  label: string;
  /** How the pictures lie in their box. */
  fit?: "cover" | "contain";
  className?: string;
  /** Show the change once, by gliding from before to after. */
  reveal?: boolean;
  eager?: boolean;
}

/** In per cent; also the initial value of --split in tokens.css. */
const REST = 46;

/**
 * Two pictures, one over the other, and a border between them that moves.
 *
 * The handle is a range input over the whole: mouse, touch, arrow keys, Home and End for nothing.
 */
export function Compare(props: CompareProps) {
  const { before, after, altBefore, altAfter, label, fit = "contain", className = "" } = props;
  const [split, setSplit] = useState(props.reveal ? 100 : REST);
  const [gliding, setGliding] = useState(props.reveal ?? false);

  useEffect(() => {
    if (!gliding) return;
    const frame = requestAnimationFrame(() => setSplit(REST));
    const timer = setTimeout(() => setGliding(false), 1200);
    return () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  }, [gliding]);

  // An attribute in the built index.html would need a looser Content-Security-Policy.
  const style = split === REST && !gliding ? undefined : position(split, gliding);
  const image = `absolute inset-0 size-full select-none ${fit === "cover" ? "object-cover object-top" : "object-contain"}`;
  return (
    <div
      className={`studio relative overflow-hidden has-[input:focus-visible]:outline-3 has-[input:focus-visible]:outline-offset-3 has-[input:focus-visible]:outline-accent ${className}`}
      style={style}
    >
      <img
        src={before}
        alt={altBefore}
        className={image}
        draggable={false}
        fetchPriority={props.eager ? "high" : "auto"}
      />
      <img
        src={after}
        alt={altAfter}
        className={`${image} [clip-path:inset(0_0_0_var(--split))]`}
        draggable={false}
      />
      <span className="on-picture absolute top-3.5 left-3.5">{messages.result.before}</span>
      <span className="on-picture absolute top-3.5 right-3.5">{messages.result.after}</span>
      {/* Moved by a transform of its full width: what moves so is not laid out anew. */}
      <span aria-hidden className="pointer-events-none absolute inset-0 translate-x-(--split)">
        <span className="absolute inset-y-0 -left-[1.5px] w-[3px] bg-white shadow-[0_0_12px_#0004]" />
        <span className="absolute top-[58%] left-0 grid size-[46px] -translate-1/2 place-items-center rounded-full bg-white text-[#1b1714] shadow-[0_4px_16px_#0004]">
          <ChevronsLeftRight className="size-5" />
        </span>
      </span>
      <input
        type="range"
        min={0}
        max={100}
        value={split}
        aria-label={label}
        aria-valuetext={messages.result.compareValue(split)}
        onChange={(event) => {
          setGliding(false);
          setSplit(event.target.valueAsNumber);
        }}
        className="absolute inset-0 m-0 size-full cursor-ew-resize touch-pan-y opacity-0"
      />
    </div>
  );
}

function position(split: number, gliding: boolean): CSSProperties & Record<"--split", string> {
  return {
    "--split": `${split}%`,
    transition: gliding ? "--split 1.1s cubic-bezier(.6,0,.2,1)" : "none",
  };
}
