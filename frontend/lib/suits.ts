import type { Garment, Person } from "./api-client";

/** Whether the picture shows enough of a sample person for a garment; unknown ones are tried. */
export function suits(person: Person | null, garment: Garment | null): boolean {
  return person?.shows !== "half" || garment === null || garment.category === "tops";
}
