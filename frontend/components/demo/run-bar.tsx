import { Sparkles, X } from "lucide-react";
import type { MouseEvent, Ref } from "react";
import { Button } from "@/components/ui/button";
import { clock, duration } from "@/lib/format";
import { messages, problem, STEPS, stage } from "@/lib/messages";
import type { Hindrance, Run } from "@/lib/reducer";
import { useNow } from "@/lib/use-now";

const words = messages.run;

interface RunBarProps {
  ref: Ref<HTMLDivElement>;
  run: Run;
  hindrance: Hindrance | null;
  online: boolean;
  /** The server's clock. */
  now: () => number;
  onPress: () => void;
  onCancel: () => void;
}

/** The one button, and what is going on. On a phone it stays in sight. */
export function RunBar(props: RunBarProps) {
  const { run, hindrance } = props;
  const busy = run.phase === "uploading" || run.phase === "working";
  return (
    <div
      ref={props.ref}
      className="sticky bottom-0 z-10 grid gap-3 rounded-b-3xl border-t border-line bg-card p-4 max-lg:shadow-[0_-14px_24px_-20px_#0007] sm:px-6 lg:static [@media(max-height:32rem)]:static lg:grid-cols-[auto_1fr] lg:items-center lg:gap-8 lg:py-5.5"
    >
      <div className="order-last flex gap-2 lg:order-first">
        <TheButton {...props} />
      </div>
      <div className="min-w-0">
        <Steps run={run} />
        <p
          id="run-state"
          className="mt-2.5 flex flex-wrap gap-x-4.5 gap-y-1 text-sm text-mute tabular-nums"
        >
          {busy ? <Elapsed {...props} /> : <Still run={run} hindrance={hindrance} />}
        </p>
      </div>
      <p role="status" className="sr-only">
        {spoken(run)}
      </p>
    </div>
  );
}

/** One element in every state, so that it keeps the focus; it starts, and stops what it started. */
function TheButton({ run, hindrance, onPress, onCancel }: RunBarProps) {
  const busy = run.phase === "uploading" || run.phase === "working";
  const limited = run.phase === "limited";
  const left = useNow(Date.now, limited);
  const idle = !busy && hindrance !== null;
  const Icon = busy ? X : Sparkles;

  function click({ detail }: MouseEvent) {
    if (idle) return;
    // The second click of a double click on what stood here before is no wish to stop.
    if (!busy) onPress();
    else if (detail < 2) onCancel();
  }
  return (
    <Button
      tone={busy ? "plain" : "accent"}
      size="large"
      onClick={click}
      // Nor is a key that is held down.
      onKeyDown={(event) => event.repeat && event.preventDefault()}
      // Not `disabled`: it can be reached, and says why.
      aria-disabled={idle}
      aria-describedby="run-state"
      className="w-full tabular-nums lg:w-54"
    >
      <Icon aria-hidden className="size-5" />
      {limited ? messages.limited.button(clock(run.untilMs - left)) : label(run.phase)}
    </Button>
  );
}

function label(phase: Run["phase"]): string {
  switch (phase) {
    case "uploading":
      return words.cancelUpload;
    case "working":
      return words.cancel;
    case "completed":
      return words.again;
    default:
      return words.press;
  }
}

function Still({ run, hindrance }: { run: Run; hindrance: Hindrance | null }) {
  if (run.phase === "limited") {
    return <span className="font-medium text-warn">{problem(run.problem).title}</span>;
  }
  if (run.phase === "completed") {
    return (
      <>
        <b className="font-medium text-ink">{words.done}</b>
        <span className="max-sm:hidden">
          {words.session} <b className="font-medium text-ink">{run.session.id.slice(0, 8)}</b>
        </span>
        <span>{hindrance === null ? words.next : words.hindered[hindrance]}</span>
      </>
    );
  }
  return <span>{hindrance === null ? words.ready : words.hindered[hindrance]}</span>;
}

function Elapsed({ run, online, now }: RunBarProps) {
  const time = useNow(now, true, 500);
  if (run.phase !== "uploading" && run.phase !== "working") return null;
  const session = run.phase === "working" ? run.session : null;
  const lost = !online || !run.answering;
  return (
    <>
      <b className="font-medium text-ink">{describe(run)}</b>
      {session && (
        <span>{words.soFar(duration(Math.max(0, time - Date.parse(session.created_at))))}</span>
      )}
      {session && session.attempts > 1 && <span>{words.attempt(session.attempts)}</span>}
      {lost ? (
        <span className="text-warn">{online ? words.noAnswer : messages.offline.title}</span>
      ) : (
        session && <span>{words.closable}</span>
      )}
    </>
  );
}

function Steps({ run }: { run: Run }) {
  const { done, now } = stepsOf(run);
  return (
    <ol
      aria-label={words.progress}
      className="m-0 grid list-none grid-cols-5 gap-1.5 p-0 sm:gap-2.5"
    >
      {STEPS.map((name, index) => {
        const state = index < done ? "done" : index === now ? "now" : "next";
        return (
          <li
            key={name}
            aria-current={state === "now" ? "step" : undefined}
            className={`text-[13.5px] font-medium ${STEP[state]}`}
          >
            <i className={`block h-1.5 rounded-full ${BAR[state]}`} />
            <span className="mt-2 block max-sm:sr-only">{name}</span>
          </li>
        );
      })}
    </ol>
  );
}

const STEP = { done: "text-ok", now: "text-ink", next: "text-mute" };
const BAR = {
  done: "bg-ok",
  now: "bg-accent animate-[breathe_1.6s_ease-in-out_infinite]",
  next: "bg-line",
};

function stepsOf(run: Run): { done: number; now: number } {
  switch (run.phase) {
    case "uploading":
      return { done: 0, now: 0 };
    case "working": {
      if (run.session.status === "created") return { done: 1, now: -1 };
      const { step } = stage(run.session.stage);
      return { done: step, now: step };
    }
    case "completed":
      return { done: STEPS.length, now: -1 };
    default:
      return { done: 0, now: -1 };
  }
}

function describe(run: Extract<Run, { phase: "uploading" | "working" }>): string {
  if (run.phase === "uploading") return run.sent >= 1 ? words.checking : words.uploading;
  if (run.session.status === "processing") return stage(run.session.stage).text;
  const place = run.session.queue_position;
  return place === null ? words.waiting : words.queue(place);
}

/** For those who listen: every stage once, never each percent. */
function spoken(run: Run): string {
  switch (run.phase) {
    case "uploading":
    case "working":
      return describe(run);
    case "completed":
      return words.finished;
    case "expired":
      return messages.expired.title;
    case "deleted":
      return messages.deleted.text;
    // Refusals and failures are alerts of their own.
    default:
      return "";
  }
}
