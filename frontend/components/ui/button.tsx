import type { ComponentProps } from "react";

type Tone = "accent" | "ink" | "plain" | "danger" | "danger-plain";

const TONES: Record<Tone, string> = {
  accent: "border-accent bg-accent text-on-accent hover:brightness-110",
  ink: "border-ink bg-ink text-paper hover:opacity-90",
  plain: "border-line-strong bg-card text-ink hover:border-ink",
  danger: "border-danger bg-danger text-white hover:brightness-110",
  "danger-plain": "border-bad/45 bg-transparent text-bad hover:border-bad",
};
const SIZES = {
  large: "min-h-14 px-7 rounded-[14px] text-base",
  normal: "min-h-12 px-5 rounded-[14px] text-base",
  small: "min-h-11 px-3.5 rounded-xl text-sm",
};
// `aria-disabled` is for what can be reached all the same, and says why it cannot be pressed.
const OFF =
  "disabled:border-line disabled:bg-sunk disabled:text-mute disabled:hover:brightness-100 disabled:hover:border-line disabled:hover:opacity-100 " +
  "aria-disabled:cursor-not-allowed aria-disabled:border-line aria-disabled:bg-sunk aria-disabled:text-mute aria-disabled:hover:brightness-100 aria-disabled:hover:border-line";
const BASE =
  "inline-flex shrink-0 items-center justify-center gap-2 border font-medium no-underline select-none transition-[filter,border-color,opacity] [&>svg]:shrink-0";

/** The classes of a button, also for links and labels that look like one. */
export function buttonClass(tone: Tone = "plain", size: keyof typeof SIZES = "normal"): string {
  return `${BASE} ${TONES[tone]} ${SIZES[size]} ${OFF}`;
}

interface ButtonProps extends ComponentProps<"button"> {
  tone?: Tone;
  size?: keyof typeof SIZES;
}

export function Button({ tone, size, className = "", ...rest }: ButtonProps) {
  return <button type="button" className={`${buttonClass(tone, size)} ${className}`} {...rest} />;
}

const ICON =
  "grid size-11 shrink-0 place-items-center rounded-xl border border-line bg-card text-ink transition-colors hover:border-ink disabled:text-mute disabled:hover:border-line";

/** A button that is an icon; its label is for those who do not see it, and for the pointer. */
export function IconButton({
  label,
  className = "",
  ...rest
}: ComponentProps<"button"> & { label: string }) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      className={`${ICON} ${className}`}
      {...rest}
    />
  );
}
