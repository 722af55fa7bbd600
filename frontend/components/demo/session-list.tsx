import { Shirt, Trash2, X } from "lucide-react";
import { useState } from "react";
import { Badge } from "@/components/ui/badge";
import { Button, buttonClass, IconButton } from "@/components/ui/button";
import type { Garment, Session } from "@/lib/api-client";
import { dateAndTime, roughly, timeOfDay } from "@/lib/format";
import type { Known } from "@/lib/known-sessions";
import { messages, stage } from "@/lib/messages";
import type { Erased } from "@/lib/use-erased";
import { useNow } from "@/lib/use-now";

const words = messages.history;
const FEW = 4;

interface SessionListProps {
  sessions: Session[];
  /** The server has said which there are. */
  known: boolean;
  garments: Garment[];
  shownId: string | null;
  address: (path: string) => string;
  now: () => number;
  onOpen: (session: Session) => void;
  onErase: (session: Session) => void;
  erased: Erased;
}

export function SessionList(props: SessionListProps) {
  const { sessions, erased } = props;
  const [all, setAll] = useState(false);
  const now = useNow(props.now, sessions.length > 0, 10_000);
  const listed = all ? sessions : sessions.slice(0, FEW);
  const over = all ? erased.sessions : erased.sessions.slice(0, FEW - listed.length);
  const hidden = sessions.length + erased.sessions.length - listed.length - over.length;
  return (
    <section aria-labelledby="sessions" className="panel min-w-0 p-5 lg:p-6.5">
      <div className="flex flex-wrap items-baseline justify-between gap-x-4">
        <h3 id="sessions" className="heading text-lg font-semibold">
          {words.title}
        </h3>
        <span className="text-[13px] text-mute">{words.note}</span>
      </div>
      {listed.length + over.length === 0 && (
        <p className="mt-4 text-[15px] text-mute">{words.empty}</p>
      )}
      <ul className="mt-4 list-none p-0">
        {listed.map((session) => (
          <Row key={session.id} {...props} session={session} time={now} />
        ))}
        {over.map((one) => (
          <ErasedRow key={one.id} {...props} session={one} />
        ))}
      </ul>
      <div className="mt-2 flex flex-wrap gap-2 empty:hidden">
        {hidden > 0 && (
          <Button size="small" onClick={() => setAll(true)}>
            {words.more(hidden)}
          </Button>
        )}
        {over.length > 1 && (
          <Button size="small" onClick={() => erased.forget(erased.sessions.map((one) => one.id))}>
            {words.forgetAll(erased.sessions.length)}
          </Button>
        )}
      </div>
    </section>
  );
}

const TONES = { created: "busy", processing: "busy", completed: "ok", failed: "bad" } as const;
const VERBS = {
  created: words.watch,
  processing: words.watch,
  completed: words.show,
  failed: words.look,
};

const ROW =
  "grid grid-cols-[56px_1fr_auto] items-center gap-x-4 border-t border-line py-3 max-sm:grid-cols-[48px_1fr]";

function Row(props: SessionListProps & { session: Session; time: number }) {
  const { session, time } = props;
  const garment = props.garments.find((one) => one.id === session.garment_id);
  const name = garment?.name ?? words.own;
  const left = Date.parse(session.expires_at) - time;
  return (
    <li className={ROW}>
      <Thumb src={thumbOf(session, garment, props.address)} />
      <div className="min-w-0">
        <p className="flex flex-wrap items-center gap-x-2.5 gap-y-1 text-[15px] font-medium">
          {name} <Badge tone={TONES[session.status]}>{badge(session)}</Badge>
        </p>
        <p className="text-[13px] text-mute tabular-nums">
          {timeOfDay(session.created_at)}, {words.goneIn(roughly(left))}
        </p>
      </div>
      <div className="flex gap-2 max-sm:col-start-2 max-sm:mt-2">
        <Button
          size="small"
          aria-label={`${VERBS[session.status]}: ${name}`}
          aria-current={session.id === props.shownId ? "true" : undefined}
          disabled={session.id === props.shownId}
          onClick={() => props.onOpen(session)}
        >
          {session.id === props.shownId ? words.shown : VERBS[session.status]}
        </Button>
        <IconButton label={`${words.remove}: ${name}`} onClick={() => props.onErase(session)}>
          <Trash2 aria-hidden className="size-4" />
        </IconButton>
      </div>
    </li>
  );
}

/** What is left of one whose time was over: when it went, and the server's word for it. */
function ErasedRow(props: SessionListProps & { session: Known }) {
  const { session } = props;
  const garment = props.garments.find((one) => one.id === session.garmentId);
  const name = garment?.name ?? words.own;
  return (
    <li className={ROW}>
      <Thumb src={garment ? props.address(garment.image_url) : null} faded />
      <div className="min-w-0">
        <p className="flex flex-wrap items-center gap-x-2.5 gap-y-1 text-[15px] font-medium">
          {name} <Badge tone="quiet">{words.erased}</Badge>
        </p>
        <p className="text-[13px] text-mute tabular-nums">
          {words.erasedAt(dateAndTime(session.erasedAt ?? session.expiresAt))}
        </p>
      </div>
      <div className="flex gap-2 max-sm:col-start-2 max-sm:mt-2">
        {session.erasedAt !== null && (
          <a
            href={props.address(`/api/tryon/receipts/${session.id}`)}
            aria-label={`${words.receipt}: ${name}`}
            className={buttonClass("plain", "small")}
          >
            {words.receipt}
          </a>
        )}
        <IconButton
          label={`${words.forget}: ${name}`}
          onClick={() => props.erased.forget([session.id])}
        >
          <X aria-hidden className="size-4" />
        </IconButton>
      </div>
    </li>
  );
}

function badge(session: Session): string {
  if (session.status !== "processing") return words.status[session.status];
  const { text } = stage(session.stage);
  return !session.progress ? text : `${text}, ${Math.round(session.progress * 100)} %`;
}

function thumbOf(
  session: Session,
  garment: Garment | undefined,
  address: (path: string) => string,
): string | null {
  if (session.output_image_url) return address(session.output_image_url);
  if (garment) return address(garment.image_url);
  return session.garment_image_url ? address(session.garment_image_url) : null;
}

/** Signed addresses hold for minutes: one that does not load any more is no broken picture. */
function Thumb({ src, faded = false }: { src: string | null; faded?: boolean }) {
  const [broken, setBroken] = useState<string | null>(null);
  return (
    <span className="studio grid aspect-square place-items-center overflow-hidden rounded-xl text-mute">
      {src === null || broken === src ? (
        <Shirt aria-hidden className="size-5" />
      ) : (
        <img
          src={src}
          alt=""
          loading="lazy"
          onError={() => setBroken(src)}
          className={`size-full object-cover object-[50%_20%] ${faded ? "opacity-60 grayscale" : ""}`}
        />
      )}
    </span>
  );
}
