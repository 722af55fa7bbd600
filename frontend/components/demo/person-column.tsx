import { Camera, ClipboardPaste, ImagePlus, RefreshCw, Trash2, Upload } from "lucide-react";
import { Button, buttonClass } from "@/components/ui/button";
import { Step } from "@/components/ui/step";
import type { Person } from "@/lib/api-client";
import { messages } from "@/lib/messages";
import type { Picture, Rejection } from "@/lib/picture";
import type { Preparing } from "@/lib/reducer";
import { FileButton } from "./file-button";
import { RejectionNote } from "./rejection-note";
import { SamplePlaces, Samples } from "./samples";

const words = messages.person;
/** The lowest thing of the column takes what height the others leave over. */
const GRID = "grid flex-auto auto-rows-fr grid-cols-5 gap-2";
const CELL = "before:pt-[100%]";
const USUALLY = 10;
/** One shape, empty or not, so that nothing moves. */
const BOX = "aspect-square rounded-[18px] sm:aspect-[3/4]";

interface PersonColumnProps {
  picture: Picture | null;
  preparing: Preparing | null;
  rejection: Rejection | null;
  people: Person[];
  failed: boolean;
  address: (path: string) => string;
  onFile: (file: File) => void;
  onPerson: (person: Person) => void;
  onClear: () => void;
  /** Null where the browser lets no page read the clipboard. */
  onPaste: (() => void) | null;
}

export function PersonColumn(props: PersonColumnProps) {
  const { picture, preparing, rejection, people } = props;
  return (
    <section data-slot="person" aria-label={words.title} className="flex flex-col p-5 xl:p-6.5">
      <Step number={1} title={words.title} done={picture !== null} aside={words.rules} />
      {picture === null ? (
        <EmptyPhoto preparing={preparing !== null} onFile={props.onFile} />
      ) : (
        <ChosenPhoto
          picture={picture}
          preparing={preparing !== null}
          onFile={props.onFile}
          onClear={props.onClear}
        />
      )}
      <div className="mt-3 mb-4 grid grid-flow-col auto-cols-fr gap-2 [&>*]:px-2">
        <FileButton className={buttonClass("plain", "small")} onFile={props.onFile}>
          <Upload aria-hidden className="size-[18px]" /> {words.upload}
        </FileButton>
        {/* Elsewhere `capture` only opens the same dialog again. */}
        <FileButton
          className={`${buttonClass("plain", "small")} pointer-fine:hidden`}
          onFile={props.onFile}
          camera
        >
          <Camera aria-hidden className="size-[18px]" /> {words.camera}
        </FileButton>
        {props.onPaste && (
          <Button size="small" onClick={props.onPaste}>
            <ClipboardPaste aria-hidden className="size-[18px]" /> {words.paste}
          </Button>
        )}
      </div>
      {rejection && (
        <div className="mb-4">
          <RejectionNote rejection={rejection} />
        </div>
      )}
      {people.length === 0 && !props.failed && (
        <SamplePlaces count={USUALLY} className={GRID} cell={CELL} />
      )}
      {people.length > 0 && (
        <div className="flex flex-auto flex-col">
          <p className="mb-2 flex flex-wrap justify-between gap-x-3 text-[13px] text-mute">
            <span>{words.samples}</span> <span>{words.generated}</span>
          </p>
          <Samples
            legend={words.samples}
            group="person"
            items={people.map((one) => ({ ...one, src: props.address(one.image_url) }))}
            chosen={(preparing ?? picture)?.sampleId ?? null}
            onChoose={(id) => {
              const person = people.find((one) => one.id === id);
              if (person) props.onPerson(person);
            }}
            className={GRID}
            grows
            cell={`studio ${CELL}`}
            picture="object-[50%_12%]"
          />
        </div>
      )}
      {props.failed && <p className="text-[13px] text-mute">{words.noSamples}</p>}
    </section>
  );
}

function EmptyPhoto(props: { preparing: boolean; onFile: (file: File) => void }) {
  return (
    <FileButton
      onFile={props.onFile}
      label={words.upload}
      className={`grid place-items-center border-[1.5px] border-dashed border-line-strong p-6 text-center transition-colors hover:border-accent ${BOX}`}
    >
      <span>
        <span
          aria-hidden
          className="mx-auto mb-3 grid size-12 place-items-center rounded-xl bg-accent-soft text-accent-text"
        >
          <ImagePlus className="size-6" />
        </span>
        <span className="block font-medium">{props.preparing ? words.preparing : words.empty}</span>
        <span className="mt-1 block text-[13px] text-mute text-balance">
          <span className="pointer-coarse:hidden">{words.emptyHint}</span>
          <span className="pointer-fine:hidden">{words.emptyHintTouch}</span>
        </span>
      </span>
    </FileButton>
  );
}

function ChosenPhoto({
  picture,
  preparing,
  onFile,
  onClear,
}: {
  picture: Picture;
  preparing: boolean;
  onFile: (file: File) => void;
  onClear: () => void;
}) {
  return (
    <div className={`studio relative overflow-hidden ${BOX}`} aria-busy={preparing}>
      {/* What the photo leaves free of the box is the photo once more, out of focus. */}
      <img
        src={picture.url}
        alt=""
        className="absolute inset-0 size-full scale-150 object-cover opacity-60 blur-3xl"
      />
      <img
        src={picture.url}
        alt={words.alt}
        className={`absolute inset-0 size-full object-contain transition-opacity ${preparing ? "opacity-40" : ""}`}
      />
      <div className="absolute inset-x-3 bottom-3 flex items-center justify-between gap-2">
        <FileButton
          onFile={onFile}
          className="inline-flex h-11 items-center gap-1.5 rounded-[11px] bg-[#fffffff2] px-3 text-[13px] font-medium text-[#1b1714] hover:bg-white"
        >
          <RefreshCw aria-hidden className="size-4" /> {words.replace}
        </FileButton>
        <button
          type="button"
          aria-label={words.remove}
          title={words.remove}
          onClick={onClear}
          className="grid size-11 place-items-center rounded-[11px] bg-[#fffffff2] text-[#1b1714] hover:bg-white"
        >
          <Trash2 aria-hidden className="size-4" />
        </button>
      </div>
    </div>
  );
}
