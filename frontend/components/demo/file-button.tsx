import type { ReactNode } from "react";

interface FileButtonProps {
  children: ReactNode;
  className?: string;
  onFile: (file: File) => void;
  /** Open the camera, where the device has one to open. */
  camera?: boolean;
  label?: string;
  disabled?: boolean;
}

/** A real file input inside its label: keyboard, screen readers and phones know what to do. */
export function FileButton(props: FileButtonProps) {
  const { children, className = "", onFile, camera = false, label, disabled = false } = props;
  return (
    <label
      className={`relative has-[:focus-visible]:outline-3 has-[:focus-visible]:outline-offset-3 has-[:focus-visible]:outline-accent ${className}`}
    >
      <input
        type="file"
        accept="image/*"
        capture={camera ? "user" : undefined}
        aria-label={label}
        disabled={disabled}
        className="absolute inset-0 size-full cursor-pointer opacity-0 file:cursor-pointer"
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file) onFile(file);
          // So that the same file can be chosen again.
          event.target.value = "";
        }}
      />
      {children}
    </label>
  );
}
