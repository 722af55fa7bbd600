import { expect, test } from "vitest";
import { problem } from "@/lib/messages";

const refusal = (code: string, detail: string) => ({
  code,
  title: "The server's own title",
  detail,
});

test.each([
  [
    "image_dimensions",
    "person_image: 100 × 100 pixels; each side needs at least 256. Use a larger picture.",
    "Your photo: 100 × 100 pixels; each side needs at least 256. Use a larger picture.",
  ],
  [
    "unsupported_media_type",
    "garment_image is neither JPEG, PNG nor WebP. JPEG, PNG and WebP are taken.",
    "Your garment is neither JPEG, PNG nor WebP. JPEG, PNG and WebP are taken.",
  ],
  [
    "some_new_code",
    "Send either garment_image or garment_id, not both.",
    "Send either your garment or the garment, not both.",
  ],
])("%s is told without the names of fields", (code, detail, text) => {
  expect(problem(refusal(code, detail)).text).toBe(text);
});

test("a database that is away is no lack of room", () => {
  const { title, text } = problem(refusal("unavailable", "connection refused"));

  expect(title).toBe("The server is out of order for a moment.");
  expect(text).toContain("database");
  expect(problem(refusal("queue_full", "")).title).not.toBe(title);
  expect(problem(refusal("storage_full", "")).title).not.toBe(title);
});

test("a code of a later server is told in that server's words", () => {
  expect(problem(refusal("too_rainy", "Wait for the sun."))).toEqual({
    title: "The server's own title",
    text: "Wait for the sun.",
  });
});
