import { Check } from "lucide-react";

export interface Sample {
  id: string;
  name: string;
  /** What the picture shows. */
  description: string;
  src: string;
  /** Not with what else is chosen. */
  disabled?: boolean;
}

interface SamplesProps {
  legend: string;
  group: string;
  items: Sample[];
  chosen: string | null;
  onChoose: (id: string) => void;
  className: string;
  /** Gives a cell its least height, by the padding of what is before its content. */
  cell: string;
  /** Its cells take what height the column leaves over. */
  grows?: boolean;
  /** Where the picture lies in its cell. */
  picture?: string;
}

const CELL = "relative block overflow-hidden rounded-xl bg-sunk before:block";

/** Their places, while the catalogue is on its way: nothing moves when it comes. */
export function SamplePlaces(props: { count: number; className: string; cell: string }) {
  return (
    <div aria-hidden className={props.className}>
      {Array.from({ length: props.count }, (_, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they are all the same, and stay
        <span key={index} className={`${CELL} ${props.cell}`} />
      ))}
    </div>
  );
}

/** Pictures to choose one of: radio buttons, so that arrow keys and screen readers work. */
export function Samples(props: SamplesProps) {
  return (
    <fieldset
      className={`m-0 flex min-w-0 flex-col border-0 p-0 ${props.grows ? "flex-auto" : ""}`}
    >
      <legend className="sr-only">{props.legend}</legend>
      <div className={props.className}>
        {props.items.map((item) => (
          <label
            key={item.id}
            title={item.name}
            className={`${CELL} ${props.cell} ring-line-strong transition-shadow hover:ring-2 has-disabled:opacity-40 has-disabled:grayscale has-checked:ring-[3px] has-checked:ring-accent has-checked:ring-offset-2 has-checked:ring-offset-card has-[:focus-visible]:outline-3 has-[:focus-visible]:outline-offset-[5px] has-[:focus-visible]:outline-accent`}
          >
            <input
              type="radio"
              name={props.group}
              value={item.id}
              aria-label={item.name}
              checked={props.chosen === item.id}
              disabled={item.disabled}
              onChange={() => props.onChoose(item.id)}
              className="peer absolute inset-0 size-full cursor-pointer opacity-0 disabled:cursor-not-allowed"
            />
            <img
              src={item.src}
              alt={item.description}
              loading="lazy"
              decoding="async"
              width={192}
              height={256}
              className={`pointer-events-none absolute inset-0 size-full object-cover ${props.picture ?? ""}`}
            />
            <span
              aria-hidden
              className="absolute top-1.5 right-1.5 hidden size-[22px] place-items-center rounded-full bg-accent text-on-accent peer-checked:grid"
            >
              <Check className="size-3.5" strokeWidth={3} />
            </span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
