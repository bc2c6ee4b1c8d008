import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeSigningKey, startRepository } from "../../test/support/apt-repository.ts";
import { makeListedPackage } from "../../test/support/kernels.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { openScratch } from "../base/scratch.ts";
import { debian } from "../kernel/distributions/debian.ts";
import type { AptSource } from "./apt.ts";
import { readCurrentAptSource } from "./current.ts";

const KEY = makeSigningKey();
const NOW = new Date("2026-11-28T00:00:00Z");
const packages = [makeListedPackage({ name: "linux-headers-6.1.0-56-amd64" })];

async function start() {
  const repository = await startRepository(KEY);
  const cache = await temporaryDirectory();
  const http = new Http({ retries: 0 });
  onTestFinished(() => http.close());
  const context = { http, cache, scratch: await openScratch(join(cache, "tmp")) };
  const said: string[] = [];
  const look = (changes: Partial<AptSource> = {}) =>
    readCurrentAptSource(
      {
        ...{ id: "debian/bookworm", distribution: debian, release: "debian12", suite: "bookworm" },
        ...{ component: "main", url: repository.url, keyring: KEY.keyring, kind: "apt" as const },
        ...{ architectures: ["x86_64" as const], acceptExpired: false, isRequired: false },
        ...changes,
      },
      context,
      NOW,
      (text) => said.push(text),
    );
  return { publish: (more: object) => repository.publish("bookworm", { packages, ...more }), look, said };
}

test("an index that ran out is refused, unless the configuration accepts it, and that is told", async () => {
  const { publish, look, said } = await start();
  publish({ date: "Tue, 01 Jan 2019 00:00:00 UTC", validUntil: "Tue, 08 Jan 2019 00:00:00 UTC" });

  const refused = await look();
  const accepted = await look({ acceptExpired: true });

  expect(refused).toMatchObject({
    kind: "failed",
    error: { code: "CATALOG_SUSPECT", hint: expect.stringContaining("acceptExpired") },
  });
  expect(accepted).toMatchObject({ kind: "read" });
  expect(said).toEqual([expect.stringMatching(/valid until 2019-01-08.*accepts/)]);
});

test("an index never goes back in time", async () => {
  const { publish, look } = await start();
  publish({ date: "Sat, 14 Nov 2026 00:00:00 UTC" });
  const first = await look();
  publish({ date: "Sat, 07 Nov 2026 00:00:00 UTC" });
  const older = await look();
  publish({ date: "Sat, 21 Nov 2026 00:00:00 UTC" });
  const newer = await look();

  expect([first.kind, older.kind, newer.kind]).toEqual(["read", "failed", "read"]);
  expect(older).toMatchObject({
    error: { message: expect.stringContaining("is older than the one of 2026-11-14") },
  });
});
