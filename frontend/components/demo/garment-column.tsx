import { RefreshCw, Trash2, Upload } from "lucide-react";
import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Step } from "@/components/ui/step";
import type { Garment, Person } from "@/lib/api-client";
import { messages } from "@/lib/messages";
import type { Picture, Rejection } from "@/lib/picture";
import type { GarmentChoice } from "@/lib/reducer";
import { suits } from "@/lib/suits";
import { FileButton } from "./file-button";
import { RejectionNote } from "./rejection-note";
import { SamplePlaces, Samples } from "./samples";

const words = messages.garment;
const GRID = "grid grid-cols-3 gap-2 sm:grid-cols-4";
const CELL = "before:pt-[133.33%]";
const USUALLY = 12;

interface GarmentColumnProps {
  choice: GarmentChoice | null;
  preparing: boolean;
  rejection: Rejection | null;
  garments: Garment[];
  /** The sample person that is chosen, if one is. */
  person: Person | null;
  failed: boolean;
  address: (path: string) => string;
  onFile: (file: File) => void;
  onChoose: (id: string) => void;
  onClear: () => void;
  onReload: () => void;
}

export function GarmentColumn(props: GarmentColumnProps) {
  const { choice, garments } = props;
  const [category, setCategory] = useState<Garment["category"] | null>(null);
  const categories = [...new Set(garments.map((one) => one.category))];
  const chosen = garments.find((one) => choice?.kind === "sample" && one.id === choice.id);
  return (
    <section
      data-slot="garment"
      aria-label={words.title}
      className="flex flex-col border-line p-5 max-sm:border-t sm:border-l xl:p-6.5"
    >
      <Step number={2} title={words.title} done={choice !== null} aside={chosen?.name} />
      {categories.length > 1 && (
        <Filter categories={categories} chosen={category} onChoose={setCategory} />
      )}
      {garments.length === 0 && !props.failed && (
        <SamplePlaces count={USUALLY} className={GRID} cell={CELL} />
      )}
      <Samples
        legend={words.samples}
        group="garment"
        items={garments
          .filter((one) => category === null || one.category === category)
          .map((one) => ({
            ...one,
            description: one.name,
            src: props.address(one.image_url),
            disabled: !suits(props.person, one),
          }))}
        chosen={choice?.kind === "sample" ? choice.id : null}
        onChoose={props.onChoose}
        className={GRID}
        cell={CELL}
      />
      {props.person && garments.some((one) => !suits(props.person, one)) && (
        <p className="mt-2.5 text-[13px] text-pretty text-mute">
          {words.topsOnly(props.person.name)}
        </p>
      )}
      {props.failed && (
        <p className="flex items-center justify-between gap-3 text-[13px] text-mute">
          {words.noSamples}
          <Button size="small" onClick={props.onReload}>
            {words.reload}
          </Button>
        </p>
      )}
      {choice?.kind === "own" ? (
        <OwnGarment picture={choice.picture} onFile={props.onFile} onClear={props.onClear} />
      ) : (
        <AddGarment preparing={props.preparing} onFile={props.onFile} />
      )}
      {props.rejection && <RejectionNote rejection={props.rejection} />}
      <div className="mt-auto pt-3.5">
        <div className="rounded-[14px] bg-sunk px-4 py-3.5 text-[13.5px]">
          <strong className="font-semibold">{words.tips}</strong>
          <p className="mt-1 text-mute">{words.tipsText}</p>
        </div>
      </div>
    </section>
  );
}

function Filter(props: {
  categories: Garment["category"][];
  chosen: Garment["category"] | null;
  onChoose: (category: Garment["category"] | null) => void;
}) {
  return (
    <fieldset className="m-0 mb-3 flex rounded-xl border-0 bg-sunk p-1">
      <legend className="sr-only">{words.filter}</legend>
      {[null, ...props.categories].map((one) => (
        <button
          key={one ?? "all"}
          type="button"
          aria-pressed={props.chosen === one}
          onClick={() => props.onChoose(one)}
          className="min-h-10 flex-auto rounded-[9px] px-2 text-sm font-medium text-mute aria-pressed:bg-card aria-pressed:text-ink aria-pressed:shadow-sm"
        >
          {one === null ? words.all : words.categories[one]}
        </button>
      ))}
    </fieldset>
  );
}

function AddGarment(props: { preparing: boolean; onFile: (file: File) => void }) {
  return (
    <FileButton
      onFile={props.onFile}
      className="mt-3 mb-3.5 flex items-center gap-3.5 rounded-[14px] border-[1.5px] border-dashed border-line-strong p-4 transition-colors hover:border-accent"
    >
      <span
        aria-hidden
        className="grid size-11 shrink-0 place-items-center rounded-xl bg-accent-soft text-accent-text"
      >
        <Upload className="size-5" />
      </span>
      <span>
        <span className="block font-medium">
          {props.preparing ? messages.person.preparing : words.own}
        </span>
        <span className="block text-[13px] text-mute">{words.ownHint}</span>
      </span>
    </FileButton>
  );
}

function OwnGarment(props: {
  picture: Picture;
  onFile: (file: File) => void;
  onClear: () => void;
}) {
  return (
    <div className="mt-3 mb-3.5 flex items-center gap-3 rounded-[14px] p-3 ring-[3px] ring-accent">
      <img
        src={props.picture.url}
        alt={words.ownChosen}
        className="size-16 shrink-0 rounded-lg bg-sunk object-contain"
      />
      <span className="min-w-0 flex-1">
        <span className="block font-medium">{words.ownChosen}</span>
        <span className="block truncate text-[13px] text-mute">{props.picture.name}</span>
      </span>
      <FileButton
        onFile={props.onFile}
        label={words.replace}
        className="grid size-11 shrink-0 place-items-center rounded-xl border border-line hover:border-ink"
      >
        <RefreshCw aria-hidden className="size-4" />
      </FileButton>
      <button
        type="button"
        aria-label={words.remove}
        title={words.remove}
        onClick={props.onClear}
        className="grid size-11 shrink-0 place-items-center rounded-xl border border-line hover:border-ink"
      >
        <Trash2 aria-hidden className="size-4" />
      </button>
    </div>
  );
}
