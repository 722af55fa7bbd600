import { messages } from "@/lib/messages";

export function Logo({ size = 30 }: { size?: number }) {
  return (
    <a
      href="#top"
      className="heading inline-flex items-center gap-2.5 text-xl font-semibold text-ink no-underline"
    >
      <svg aria-hidden="true" viewBox="0 0 32 32" width={size} height={size}>
        <rect width="32" height="32" rx="9" fill="var(--ink)" />
        <path
          d="M12.300 8.200c1.800 2.300 5.600 2.300 7.400 0l5.500 3.100-2 5-2.600-1V24a.8.8 0 0 1-.8.8h-7.600a.8.8 0 0 1-.8-.8v-8.700l-2.600 1-2-5z"
          fill="var(--paper)"
        />
      </svg>
      {messages.name}
    </a>
  );
}
