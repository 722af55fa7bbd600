import {
  CircleAlert,
  Clock,
  Download,
  ImageIcon,
  Info,
  RefreshCw,
  Share2,
  ShieldCheck,
  Sparkles,
} from "lucide-react";
import { type CSSProperties, type ReactNode, type Ref, useEffect, useState } from "react";
import { Button, buttonClass, IconButton } from "@/components/ui/button";
import { Note } from "@/components/ui/note";
import { Step } from "@/components/ui/step";
import type { Client, Session } from "@/lib/api-client";
import { clock, dateAndTime, duration } from "@/lib/format";
import { messages, problem, stage } from "@/lib/messages";
import type { Picture } from "@/lib/picture";
import type { Refusal, Run, Slot } from "@/lib/reducer";
import { useNow } from "@/lib/use-now";
import { useSessionPicture } from "@/lib/use-picture";
import { Compare } from "./compare";

const words = messages.result;

interface ResultColumnProps {
  ref: Ref<HTMLElement>;
  client: Client;
  run: Run;
  person: Picture | null;
  /** The photo of this session, where the page still has it. */
  before: Blob | null;
  /** When the server erased it, once its receipt says so. */
  erasedAt: string | null;
  /** Null where what is chosen now cannot be tried. */
  onRetry: (() => void) | null;
  onPick: (slot: Slot, file: File) => void;
}

export function ResultColumn(props: ResultColumnProps) {
  const { run } = props;
  const session = run.phase === "completed" ? run.session : null;
  return (
    <section
      ref={props.ref}
      aria-label={words.title}
      className="flex flex-col border-line p-5 max-lg:border-t sm:max-lg:col-span-2 lg:border-l xl:p-6.5"
    >
      <Step
        number={3}
        title={words.title}
        done={session !== null}
        aside={session && madeIn(session)}
      />
      <Body {...props} />
    </section>
  );
}

function Body(props: ResultColumnProps) {
  const { run } = props;
  switch (run.phase) {
    case "completed":
      return <Finished key={run.session.id} {...props} session={run.session} />;
    case "uploading":
    case "working":
      return <Busy run={run} person={props.person} />;
    case "failed":
      return <Failed {...props} session={run.session} />;
    case "refused":
      return (
        <Frame>
          <Refused problem={run.problem} />
        </Frame>
      );
    case "expired":
      return (
        <Frame>
          <Card
            icon={<Clock />}
            title={messages.expired.title}
            text={
              props.erasedAt
                ? messages.expired.erased(dateAndTime(props.erasedAt))
                : messages.expired.text
            }
          >
            {props.erasedAt && (
              <a
                href={props.client.address(`/api/tryon/receipts/${run.id}`)}
                className="mt-3 inline-block text-sm underline underline-offset-2"
              >
                {messages.expired.receipt}
              </a>
            )}
          </Card>
        </Frame>
      );
    case "deleted":
      return (
        <Frame>
          <Card
            icon={<ShieldCheck />}
            title={messages.deleted.title}
            text={messages.deleted.text}
          />
        </Frame>
      );
    case "limited":
      return (
        <Frame>
          <Limited run={run} />
        </Frame>
      );
    case "idle":
      return (
        <Frame dashed>
          <Card icon={<ImageIcon />} title={words.empty} text={words.emptyHint} flat />
        </Frame>
      );
    default:
      return run satisfies never;
  }
}

/** A picture, and what belongs to it: below, or beside it where there is room. */
const LAYOUT =
  "flex flex-auto flex-col gap-3.5 sm:max-lg:grid sm:max-lg:grid-cols-2 sm:max-lg:gap-6";

/** Where a picture will be: as large as most pictures are, so that nothing moves when it comes. */
const BOX = "aspect-[3/4] flex-auto rounded-[18px] lg:aspect-auto lg:min-h-[420px]";

/** The box of the picture while there is none. */
function Frame({ children, dashed = false }: { children: ReactNode; dashed?: boolean }) {
  return (
    <div
      className={`grid min-h-64 flex-auto place-items-center gap-3 rounded-[18px] p-5 lg:min-h-[420px] ${
        dashed ? "border-[1.5px] border-dashed border-line-strong" : "bg-sunk"
      }`}
    >
      <div className="grid w-full max-w-sm gap-3">{children}</div>
    </div>
  );
}

function Refused(props: { problem: Refusal }) {
  const { title, text } = problem(props.problem);
  return (
    <Note tone="bad" icon={CircleAlert} title={title} alert>
      {text || messages.refused.noDetail}
    </Note>
  );
}

function Limited({ run }: { run: Extract<Run, { phase: "limited" }> }) {
  const now = useNow(Date.now, true);
  const words = messages.limited;
  const { title, text } = problem(run.problem);
  return (
    <Note tone="warn" icon={Clock} title={title} alert>
      {text && <p>{text}</p>}
      {/* Read out once, as it begins; not each second. */}
      <p aria-live="off" className="tabular-nums">
        {words.goOn(clock(run.untilMs - now))}
      </p>
      <p>{words.kept}</p>
    </Note>
  );
}

interface CardProps {
  icon: ReactNode;
  title: string;
  text: string;
  flat?: boolean;
  children?: ReactNode;
}

function Card(props: CardProps) {
  return (
    <div
      className={`mx-auto rounded-[18px] px-6 py-5 text-center ${props.flat ? "" : "bg-card shadow-lift"}`}
    >
      <span
        aria-hidden
        className="mx-auto mb-3 grid size-12 place-items-center rounded-xl bg-accent-soft text-accent-text"
      >
        {props.icon}
      </span>
      <p className="font-medium">{props.title}</p>
      <p className="mt-1 text-[13px] text-mute text-balance">{props.text}</p>
      {props.children}
    </div>
  );
}

function Busy({
  run,
  person,
}: {
  run: Extract<Run, { phase: "uploading" | "working" }>;
  person: Picture | null;
}) {
  const { big, fraction, text } = progressOf(run);
  return (
    <Coming className="studio relative overflow-hidden">
      {person && (
        <img
          src={person.url}
          alt=""
          className="absolute inset-0 size-full scale-110 animate-[breathe_2.4s_ease-in-out_infinite] object-cover opacity-75 blur-[14px] saturate-75"
        />
      )}
      <div className="relative grid min-h-60 w-56 content-center rounded-[18px] bg-card px-6 py-5 text-center shadow-lift">
        {big && <p className="heading text-[44px] font-semibold tabular-nums">{big}</p>}
        {fraction !== null && (
          <progress
            aria-label={messages.run.progress}
            max={1}
            value={fraction}
            className="meter my-2.5 block w-full"
          />
        )}
        <p className="font-medium">{text}</p>
      </div>
    </Coming>
  );
}

/** Room for a picture, and below it for its buttons and remarks, so that nothing moves. */
function Coming({ className, children }: { className: string; children: ReactNode }) {
  return (
    <div className={LAYOUT}>
      <div className={`grid place-items-center ${BOX} ${className}`}>{children}</div>
      <div aria-hidden className="grid content-start gap-3 lg:hidden">
        <span className="h-12 rounded-[14px] bg-sunk" />
        <span className="h-22 rounded-[14px] bg-sunk" />
      </div>
    </div>
  );
}

function progressOf(run: Extract<Run, { phase: "uploading" | "working" }>) {
  if (run.phase === "uploading") {
    if (!run.answering) return { big: null, fraction: null, text: messages.run.noAnswer };
    const sent = run.sent >= 1 ? messages.run.checking : messages.run.uploading;
    return { big: percent(run.sent), fraction: run.sent, text: sent };
  }
  const { session } = run;
  if (!run.answering) return { big: null, fraction: null, text: messages.run.noAnswer };
  if (session.status === "created") {
    const place = session.queue_position;
    return place === null
      ? { big: null, fraction: null, text: messages.run.waiting }
      : { big: messages.run.queueBig(place), fraction: null, text: messages.run.inQueue };
  }
  // Until the engine says where it is, 0 % would only look stuck.
  const fraction = session.progress || null;
  return {
    big: fraction === null ? null : percent(fraction),
    fraction,
    text: stage(session.stage).text,
  };
}

const percent = (fraction: number) => `${Math.round(fraction * 100)} %`;

function Failed(props: ResultColumnProps & { session: Session }) {
  const words = messages.failed;
  const code = props.session.error_code ?? "";
  const slot = words.photo.includes(code)
    ? "person"
    : words.garment.includes(code)
      ? "garment"
      : null;
  return (
    <Frame>
      <Note tone="bad" icon={CircleAlert} title={words.titles[code] ?? words.title} alert>
        <p>{props.session.error_reason}</p>
        {slot === null && <p className="mt-1">{words.kept}</p>}
      </Note>
      <div className="flex flex-wrap gap-2">
        {slot && <PickAnother slot={slot} onPick={props.onPick} />}
        {props.onRetry && (
          <Button size="small" tone={slot ? "plain" : "accent"} onClick={props.onRetry}>
            <RefreshCw aria-hidden className="size-[18px]" /> {words.retry}
          </Button>
        )}
      </div>
      <p className="text-[13px] text-mute">{words.code(code)}</p>
    </Frame>
  );
}

function PickAnother({ slot, onPick }: { slot: Slot; onPick: ResultColumnProps["onPick"] }) {
  return (
    <label
      className={`relative has-[:focus-visible]:outline-3 has-[:focus-visible]:outline-offset-3 has-[:focus-visible]:outline-accent ${buttonClass("accent", "small")}`}
    >
      <input
        type="file"
        accept="image/*"
        className="absolute inset-0 size-full cursor-pointer opacity-0"
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file) onPick(slot, file);
          event.target.value = "";
        }}
      />
      {slot === "person" ? messages.failed.otherPhoto : messages.failed.otherGarment}
    </label>
  );
}

function Finished(props: ResultColumnProps & { session: Session }) {
  const { client, session } = props;
  const [after, reload] = useSessionPicture(client, session.output_image_url);
  const [before] = useSessionPicture(client, session.input_image_url, props.before);
  const shape = useShape(after.status === "ready" ? after.url : null);
  const settled = before.status === "ready" || before.status === "failed";

  if (after.status === "failed") {
    return (
      <Frame>
        <Note tone="bad" icon={CircleAlert} title={words.notLoaded} alert />
        <Button size="small" onClick={reload}>
          <RefreshCw aria-hidden className="size-[18px]" /> {messages.garment.reload}
        </Button>
      </Frame>
    );
  }
  if (
    after.status !== "ready" ||
    shape === null ||
    !(settled || session.input_image_url === null)
  ) {
    return (
      <Coming className="bg-sunk p-5">
        <p className="text-center text-mute">{words.loading}</p>
      </Coming>
    );
  }
  const box = "aspect-(--shape) rounded-[18px]";
  return (
    <div className={LAYOUT}>
      <div className="relative" style={{ "--shape": shape } as CSSProperties}>
        {before.status === "ready" ? (
          <Compare
            before={before.url}
            after={after.url}
            altBefore={words.altBefore}
            altAfter={words.alt}
            label={words.compare}
            className={box}
            reveal
          />
        ) : (
          <div className={`studio relative overflow-hidden ${box}`}>
            <img
              src={after.url}
              alt={words.alt}
              className="absolute inset-0 size-full object-contain"
            />
          </div>
        )}
        <span className="on-picture pointer-events-none absolute bottom-3.5 left-3.5">
          <Sparkles aria-hidden className="size-3.5" /> {words.preview}
        </span>
      </div>
      <div className="flex flex-auto flex-col gap-3">
        <Actions blob={after.blob} url={after.url} onAgain={props.onRetry} />
        <Remarks session={session} />
      </div>
    </div>
  );
}

interface ActionsProps {
  blob: Blob;
  url: string;
  onAgain: (() => void) | null;
}

function Actions({ blob, url, onAgain }: ActionsProps) {
  const name = `${words.fileName}.${blob.type.split("/")[1]?.replace("jpeg", "jpg") ?? "jpg"}`;
  const [shareable, setShareable] = useState<File | null>(null);
  useEffect(() => {
    const file = new File([blob], name, { type: blob.type });
    setShareable(navigator.canShare?.({ files: [file] }) ? file : null);
  }, [blob, name]);
  return (
    <div className="flex gap-2">
      <a href={url} download={name} className={`${buttonClass("ink")} flex-1`}>
        <Download aria-hidden className="size-[18px]" /> {words.download}
      </a>
      {shareable && (
        <IconButton
          label={words.share}
          className="size-12 rounded-[14px]"
          // A closed share sheet rejects, too.
          onClick={() => navigator.share({ files: [shareable] }).catch(() => undefined)}
        >
          <Share2 aria-hidden className="size-[18px]" />
        </IconButton>
      )}
      <IconButton
        label={words.again}
        className="size-12 rounded-[14px]"
        disabled={onAgain === null}
        onClick={() => onAgain?.()}
      >
        <RefreshCw aria-hidden className="size-[18px]" />
      </IconButton>
    </div>
  );
}

/** What the engine has to say about its picture; there is always something to say on fit. */
function Remarks({ session: { warnings } }: { session: Session }) {
  const found = warnings.length > 0;
  return (
    <div className="rounded-[14px] bg-sunk px-4 py-3.5 text-[13.5px] lg:flex-auto">
      <p className={`flex items-center gap-2 font-semibold ${found ? "text-warn" : ""}`}>
        <Info aria-hidden className="size-4" /> {words.remarks}
      </p>
      {found ? (
        <ul className="mt-1 list-disc pl-6 text-pretty">
          {warnings.map((warning) => (
            <li key={warning.code}>{warning.message}</li>
          ))}
        </ul>
      ) : (
        <p className="mt-1 text-pretty text-mute">{words.noRemarks}</p>
      )}
    </div>
  );
}

/** Width by height of a picture, within what a column has room for; null until it is known. */
function useShape(url: string | null): number | null {
  const [shape, setShape] = useState<number | null>(null);
  useEffect(() => {
    if (url === null) return;
    const image = new Image();
    image.onload = () => setShape(image.naturalWidth / image.naturalHeight);
    image.onerror = () => setShape(3 / 4);
    image.src = url;
  }, [url]);
  return shape && Math.min(Math.max(shape, 0.6), 1.6);
}

/** From the press of the button to the picture, as the server saw it. */
function madeIn(session: Session): string {
  const begun = session.started_at ?? session.created_at;
  const ms = Date.parse(session.finished_at ?? session.updated_at) - Date.parse(begun);
  return words.madeIn(duration(ms));
}
