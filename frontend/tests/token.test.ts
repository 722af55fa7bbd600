import { beforeEach, expect, test } from "vitest";
import { keepShown, randomName, readShown, userToken } from "@/lib/token";

beforeEach(() => localStorage.clear());

test("a token is made once and kept", () => {
  const token = userToken();

  expect(token).toMatch(/^[0-9a-f]{32}$/);
  expect(userToken()).toBe(token);
});

test("a kept token that the server would refuse is replaced", () => {
  localStorage.setItem("tryonai.token", "no spaces, please");

  expect(userToken()).toMatch(/^[0-9a-f]{32}$/);
});

test("names are made where randomUUID is missing", () => {
  expect(randomName()).not.toBe(randomName());
});

test("the session that is shown survives a reload", () => {
  keepShown({ id: "a-session", personId: "ada" });
  expect(readShown()).toEqual({ id: "a-session", personId: "ada" });

  keepShown({ id: "a-session", personId: null });
  expect(readShown()).toEqual({ id: "a-session", personId: null });

  keepShown(null);
  expect(readShown()).toBeNull();
});
