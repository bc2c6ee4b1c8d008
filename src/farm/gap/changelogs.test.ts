import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { makeDeb } from "../../../test/support/debs.ts";
import { makeCatalog, makeKernel, makePackage } from "../../../test/support/kernels.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { FarmError } from "../../base/error.ts";
import type { CatalogKernel } from "../../catalog/catalog.ts";
import type { Inputs } from "../../inputs/inputs.ts";
import { factsByKernel, factsOf, NOTHING_KNOWN } from "../../kernel/facts.ts";
import type { Package } from "../../kernel/kernel.ts";
import { learnChangelogs } from "./changelogs.ts";

const NOW = new Date("2026-11-27T00:00:00Z");
const SIGNAL = new AbortController().signal;

const entry = (version: string, day: string) =>
  `linux (${version}) bookworm; urgency=medium\n\n  * Change of ${version}\n\n -- A B <a@example.org>  ${day} 2026 10:00:00 +0000\n\n`;
const CHANGELOG = `${entry("6.1.174-1", "Tue, 26 May")}${entry("6.1.170-3", "Thu, 30 Apr")}`;

const kernelOf = (version: string, headersSize: number): CatalogKernel => {
  const kversion = `6.1.0-${version.slice(4, 7)}-amd64`;
  const headers = [
    makePackage({ name: `linux-headers-${kversion}`, version, size: headersSize }),
    makePackage({ name: "linux-kbuild-6.1", version, size: 1500 }),
  ];
  return makeKernel({
    kversion,
    packageVersion: version,
    packages: { headers, crossTools: [], image: [], modules: [] },
  });
};

/** A mirror with these files in each package of a name; `asked` are the names in their order. */
function inputsWith(files: (from: Package) => Promise<string> | string) {
  const asked: string[] = [];
  const stream = async <T>(from: Package, consume: (body: Readable) => Promise<T>): Promise<T> => {
    asked.push(from.name);
    const body = createReadStream(await files(from));
    return consume(body).finally(() => body.destroy());
  };
  return { asked, inputs: { stream } as Pick<Inputs, "stream"> };
}

const debOf = async (files: Readonly<Record<string, string | Uint8Array>>) =>
  makeDeb(await temporaryDirectory(), "linux-kbuild-6.1", files);
const CHANGELOG_FILE = "usr/share/doc/linux-kbuild-6.1/changelog.Debian.gz";
const debWith = (changelog: string) => debOf({ [CHANGELOG_FILE]: gzipSync(changelog) });

describe("changelogs of kernels", () => {
  test("come from the smallest package that has one, and the newest tells of older kernels too", async () => {
    const [older, newer] = [kernelOf("6.1.170-3", 1800), kernelOf("6.1.174-1", 1800)];
    const deb = await debWith(CHANGELOG);
    const { asked, inputs } = inputsWith(() => deb);

    const learned = await learnChangelogs(makeCatalog([older, newer]), NOTHING_KNOWN, inputs, NOW, SIGNAL);

    const known = factsByKernel(learned.facts);
    expect(asked).toEqual(["linux-kbuild-6.1"]);
    expect(learned.found.map(({ feed, changelog }) => [feed, changelog.entries.length])).toEqual([
      ["changelog/debian12/linux/6.1", 2],
    ]);
    expect([older, newer].map((kernel) => factsOf(known, kernel).changelog?.uploaded)).toEqual([
      "2026-04-30",
      "2026-05-26",
    ]);
    expect((await learnChangelogs(makeCatalog([older, newer]), known, inputs, NOW, SIGNAL)).found).toEqual(
      [],
    );
    expect(asked).toHaveLength(1);
  });

  test("come from the next package where the smallest only links to one", async () => {
    const kernel = kernelOf("6.1.174-1", 1000);
    const [plain, deb] = [await debOf({ "usr/share/doc/other": "" }), await debWith(CHANGELOG)];
    const { asked, inputs } = inputsWith(({ name }) => (name === "linux-kbuild-6.1" ? deb : plain));

    const { found } = await learnChangelogs(makeCatalog([kernel]), NOTHING_KNOWN, inputs, NOW, SIGNAL);

    expect(asked).toEqual([`linux-headers-${kernel.kversion}`, "linux-kbuild-6.1"]);
    expect(found).toHaveLength(1);
  });

  test("say of a rebuild what they say of its parent, but not when it was uploaded", async () => {
    const rebuild = kernelOf("6.1.170-3~bpo11+1", 1800);
    const deb = await debWith(CHANGELOG);

    const { facts } = await learnChangelogs(
      makeCatalog([rebuild]),
      NOTHING_KNOWN,
      inputsWith(() => deb).inputs,
      NOW,
      SIGNAL,
    );

    expect(factsOf(factsByKernel(facts), rebuild).changelog).toEqual({
      of: expect.any(String),
      source: "linux",
      feed: "changelog/debian12/linux/6.1",
    });
  });

  test("that are missing, gone or damaged are three different things", async () => {
    const kernel = kernelOf("6.1.174-1", 1800);
    const learn = async (files: () => Promise<string> | string) =>
      learnChangelogs(makeCatalog([kernel]), NOTHING_KNOWN, inputsWith(files).inputs, NOW, SIGNAL);

    const missing = await learn(() => debOf({ "usr/share/doc/other": "" }));
    const gone = await learn(() => {
      throw new FarmError("NOT_FETCHABLE", { detail: "gone" });
    });
    const damaged = await learn(() => debOf({ [CHANGELOG_FILE]: "no gzip" }));

    expect(factsOf(factsByKernel(missing.facts), kernel).changelog).toEqual({ of: expect.any(String) });
    expect([gone.unfetchable, factsOf(factsByKernel(gone.facts), kernel).fetching]).toEqual([
      1,
      { of: expect.any(String), notFetchableSince: NOW.toISOString() },
    ]);
    expect(damaged.failed).toMatchObject([{ error: { code: "PACKAGE_MALFORMED" } }]);
    expect(damaged.facts).toEqual([]);
  });
});
