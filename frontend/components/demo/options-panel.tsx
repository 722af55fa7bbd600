import { ChevronDown } from "lucide-react";
import { useId } from "react";
import { Checkbox } from "@/components/ui/checkbox";
import type { Engine } from "@/lib/api-client";
import { messages } from "@/lib/messages";
import type { Category, Mode, Options } from "@/lib/reducer";

const words = messages.options;

interface OptionsPanelProps {
  options: Options;
  engine: Engine | null;
  onChange: (options: Partial<Options>) => void;
}

/** Folded away: nobody needs it for a first picture. */
export function OptionsPanel({ options, engine, onChange }: OptionsPanelProps) {
  return (
    <details className="group border-t border-line">
      <summary className="flex min-h-12 list-none items-center gap-2 px-5 text-sm font-medium text-mute hover:text-ink lg:px-6.5 [&::-webkit-details-marker]:hidden">
        <ChevronDown aria-hidden className="size-4 transition-transform group-open:rotate-180" />
        {words.title}
      </summary>
      <div className="grid gap-x-6 gap-y-4 px-5 pb-5 sm:grid-cols-3 lg:px-6.5">
        <Choice
          label={words.category}
          value={options.category}
          choices={entries(words.categories, ["auto", ...(engine?.categories ?? [])])}
          onChange={(category) => onChange({ category: category as Category })}
        />
        <Choice
          label={words.mode}
          value={options.mode}
          choices={entries(words.modes, engine?.modes ?? ["fast", "balanced", "quality"])}
          onChange={(mode) => onChange({ mode: mode as Mode })}
        />
        <Choice
          label={words.retention}
          value={String(options.retentionS ?? "")}
          choices={[
            ["", words.retentionDefault],
            ...words.retentions.map(([seconds, text]): [string, string] => [String(seconds), text]),
          ]}
          onChange={(value) => onChange({ retentionS: value === "" ? null : Number(value) })}
        />
        <Checkbox
          label={words.deleteInputs}
          checked={options.deleteInputs}
          onChange={(deleteInputs) => onChange({ deleteInputs })}
          className="sm:col-span-3"
        />
      </div>
    </details>
  );
}

function entries<Name extends string>(names: Record<Name, string>, offered: readonly string[]) {
  return (Object.entries(names) as [Name, string][]).filter(([name]) => offered.includes(name));
}

function Choice(props: {
  label: string;
  value: string;
  choices: [string, string][];
  onChange: (value: string) => void;
}) {
  const id = useId();
  return (
    <div>
      <label htmlFor={id} className="mb-1.5 block text-[13px] text-mute">
        {props.label}
      </label>
      <select
        id={id}
        value={props.value}
        onChange={(event) => props.onChange(event.target.value)}
        className="min-h-11 w-full rounded-xl border border-line-strong bg-card px-3 text-[15px] text-ink"
      >
        {props.choices.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}
