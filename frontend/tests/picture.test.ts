import { describe, expect, test } from "vitest";
import { type Canvas, preparePicture, type Rejection, within } from "@/lib/picture";

const limits = { minSide: 256, maxBytes: 1_000 };
const photo = new File(["photo"], "me.jpg", { type: "image/jpeg" });

/** A canvas that finds pictures of one size and answers with `drawn`. */
function canvas(size: { width: number; height: number }, drawn: Blob | null | Error) {
  const asked: { width: number; height: number; type: string }[] = [];
  const fake: Canvas = {
    decode: async () => ({ ...size, close: () => undefined }) as ImageBitmap,
    encode: async (_, wanted, type) => {
      asked.push({ ...wanted, type });
      if (drawn instanceof Error) throw drawn;
      return drawn;
    },
  };
  return { fake, asked };
}

const jpeg = new Blob(["drawn"], { type: "image/jpeg" });
const reason = (answer: Promise<unknown>): Promise<Rejection> =>
  answer.then(null, (error) => error);

describe("a picture that is taken", () => {
  test("is drawn anew with a long side of at most 2,048", async () => {
    const { fake, asked } = canvas({ width: 3000, height: 4000 }, jpeg);

    expect(await preparePicture(photo, limits, fake)).toBe(jpeg);
    expect(asked).toEqual([{ width: 1536, height: 2048, type: "image/jpeg" }]);
  });

  test("is drawn anew where it is small enough, too, so that nothing but pixels is left", async () => {
    const { fake, asked } = canvas({ width: 300, height: 400 }, jpeg);

    expect(await preparePicture(photo, limits, fake)).toBe(jpeg);
    expect(asked).toEqual([{ width: 300, height: 400, type: "image/jpeg" }]);
  });

  test("keeps its transparency", async () => {
    const { fake, asked } = canvas({ width: 300, height: 400 }, jpeg);

    await preparePicture(new File(["x"], "shirt.png", { type: "image/png" }), limits, fake);

    expect(asked[0]?.type).toBe("image/webp");
  });

  test.each([null, new Error("no memory"), new Blob([], { type: "image/jpeg" })])(
    "goes as it is where the canvas fails with %s",
    async (drawn) => {
      const { fake } = canvas({ width: 300, height: 400 }, drawn);

      expect(await preparePicture(photo, limits, fake)).toBe(photo);
    },
  );
});

describe("a picture is rejected with the reason", () => {
  test("empty", async () => {
    const { fake } = canvas({ width: 300, height: 400 }, jpeg);

    expect(await reason(preparePicture(new File([], "me.jpg"), limits, fake))).toMatchObject({
      code: "empty",
      facts: { name: "me.jpg" },
    });
  });

  test("unreadable", async () => {
    const fake: Canvas = {
      decode: () => Promise.reject(new Error("no picture")),
      encode: async () => jpeg,
    };

    expect((await reason(preparePicture(photo, limits, fake))).code).toBe("unreadable");
  });

  test("too small, with both numbers", async () => {
    const { fake } = canvas({ width: 180, height: 4000 }, jpeg);

    expect(await reason(preparePicture(photo, limits, fake))).toMatchObject({
      code: "too_small",
      facts: { width: 180, height: 4000, limit: 256 },
    });
  });

  test("too large, where it could not be made smaller", async () => {
    const { fake } = canvas({ width: 3000, height: 4000 }, null);
    const large = new File([new Uint8Array(1_001)], "me.jpg", { type: "image/jpeg" });

    expect(await reason(preparePicture(large, limits, fake))).toMatchObject({
      code: "too_large",
      facts: { limit: 1_000 },
    });
  });

  test("of a kind that the server does not take, where it could not be drawn", async () => {
    const { fake } = canvas({ width: 300, height: 400 }, null);
    const heic = new File(["x"], "me.heic", { type: "image/heic" });

    expect((await reason(preparePicture(heic, limits, fake))).code).toBe("unreadable");
  });
});

test.each([
  [
    { width: 100, height: 50 },
    { width: 100, height: 50 },
  ],
  [
    { width: 4096, height: 2048 },
    { width: 2048, height: 1024 },
  ],
  [
    { width: 8000, height: 1 },
    { width: 2048, height: 1 },
  ],
])("%o becomes %o", (before, after) => {
  expect(within(before.width, before.height)).toEqual(after);
});
