import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { makeSigningKey, startRepository } from "../../test/support/apt-repository.ts";
import { makeListedPackage } from "../../test/support/kernels.ts";
import { lookAtSources } from "../../test/support/look.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { openScratch } from "../base/scratch.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import { almalinux } from "../kernel/distributions/almalinux.ts";
import { debian } from "../kernel/distributions/debian.ts";
import type { ListedPackage } from "../kernel/distributions/distribution.ts";
import type { AptSource } from "./apt.ts";
import type { Answered } from "./ask.ts";
import { EMPTY_CATALOG, sameFacts } from "./catalog.ts";
import { lateness } from "./judge.ts";
import type { SourceAnswer, SourceContext } from "./source.ts";
import { updateCatalog } from "./update.ts";

const KEY = makeSigningKey();
const [TUESDAY, WEDNESDAY] = [new Date("2026-02-10T00:00:00Z"), new Date("2026-02-11T00:00:00Z")];

function kernelPackages(abi: number): ListedPackage[] {
  const kversion = `6.1.0-${abi}-amd64`;
  return [
    makeListedPackage({
      name: `linux-headers-${kversion}`,
      depends: `linux-headers-6.1.0-${abi}-common, linux-kbuild-6.1, gcc-12`,
    }),
    makeListedPackage({ name: `linux-headers-6.1.0-${abi}-common`, architecture: "all" }),
    makeListedPackage({ name: "linux-kbuild-6.1" }),
    makeListedPackage({ name: `linux-image-${kversion}` }),
    makeListedPackage({ name: "busybox-static", version: "1:1.35.0-4" }),
  ];
}

/** What a repository without signatures lists. */
function unsignedAnswer(id: string, packages: readonly ListedPackage[]): Answered {
  return {
    source: {
      ...{ kind: "rpm-md", id, distribution: almalinux, release: "almalinux9.4", architectures: ["x86_64"] },
      ...{ location: { kind: "baseurl", urls: [`https://${id}.example/`] } },
      ...{ acceptExpired: false, isRequired: false },
    },
    answer: {
      ...{ kind: "read", url: `https://${id}.example/`, packages },
      metadata: { date: "2026-02-02T00:00:00.000Z", digest: `sha256:${"0".repeat(64)}`, unsigned: true },
    },
  };
}

/** A repository with one suite, and a way to look at it again and again. */
async function openCatalog(suites: readonly string[] = ["bookworm"], changes: Partial<AptSource> = {}) {
  const repository = await startRepository(KEY);
  const cache = await temporaryDirectory();
  const http = new Http({ retries: 0, firstDelayMs: 1 });
  onTestFinished(() => http.close());
  const context: SourceContext = { http, cache, scratch: await openScratch(join(cache, "tmp")) };
  const sources = suites.map(
    (suite): AptSource => ({
      id: `debian/${suite}`,
      distribution: debian,
      release: "debian12",
      suite,
      component: "main",
      url: repository.url,
      keyring: KEY.keyring,
      kind: "apt",
      architectures: [],
      acceptExpired: false,
      isRequired: false,
      ...changes,
    }),
  );
  const look = (
    previous = EMPTY_CATALOG,
    now = TUESDAY,
    architectures: AptSource["architectures"] = ArchitectureName.options,
    change = (source: AptSource) => source,
  ) =>
    lookAtSources(
      previous,
      sources.map((source) => change({ ...source, architectures })),
      context,
      { now },
    );
  return { repository, look };
}

const stateOf = async (looked: ReturnType<typeof lookAtSources>) => {
  const { catalog, problems } = await looked;
  return { ...catalog.sources[0], kernels: catalog.kernels.length, problems: problems.length };
};

describe("updateCatalog", () => {
  test("knows kernels, their sources and the guest's userland after one look", async () => {
    const { repository, look } = await openCatalog();
    repository.publish("bookworm", { packages: [...kernelPackages(55), ...kernelPackages(56)] });

    const { catalog, problems } = await look();

    expect(problems).toEqual([]);
    expect(catalog.kernels.map(({ kversion, firstSeen }) => [kversion, firstSeen])).toEqual([
      ["6.1.0-55-amd64", TUESDAY.toISOString()],
      ["6.1.0-56-amd64", TUESDAY.toISOString()],
    ]);
    expect(catalog.sources).toMatchObject([
      { id: "debian/bookworm", status: "ok", url: repository.url, kernels: { x86_64: 2 } },
    ]);
    expect(catalog.guests).toMatchObject([
      { distribution: "debian12", architecture: "x86_64", packages: [{ name: "busybox-static" }] },
    ]);
    expect(JSON.stringify(catalog)).not.toContain("depends");
  });

  test("says the same the next day when nothing happened", async () => {
    const { repository, look } = await openCatalog();
    repository.publish("bookworm", { packages: kernelPackages(56) });

    const first = await look();
    const second = await look(first.catalog, WEDNESDAY);

    expect(sameFacts(first.catalog, second.catalog)).toBe(true);
    expect(second.catalog.sources[0]?.checkedAt).toBe(WEDNESDAY.toISOString());
  });

  test("learns nothing of kernels whose architecture nobody asks for", async () => {
    const { repository, look } = await openCatalog();
    const arm = kernelPackages(57).map((one) => ({
      ...one,
      name: one.name.replace("-amd64", "-arm64"),
      architecture: one.architecture === "all" ? ("all" as const) : ("aarch64" as const),
    }));
    repository.publish("bookworm", { packages: [...kernelPackages(56), ...arm] });
    const both = await look();

    const { catalog, problems } = await look(both.catalog, WEDNESDAY, ["x86_64"]);

    expect(both.catalog.kernels).toHaveLength(2);
    expect(problems).toEqual([]);
    expect(catalog.sources).toMatchObject([{ status: "ok", kernels: { x86_64: 1 } }]);
    expect(catalog.kernels.map(({ architecture, withdrawnSince }) => [architecture, withdrawnSince])).toEqual(
      [
        ["aarch64", undefined],
        ["x86_64", undefined],
      ],
    );
    expect(catalog.guests).toEqual(both.catalog.guests);
  });

  test("ties packages of several suites of a release together", async () => {
    const { repository, look } = await openCatalog(["bookworm", "bookworm-security"]);
    const [headers, ...rest] = kernelPackages(56);
    repository.publish("bookworm", { packages: rest });
    repository.publish("bookworm-security", { packages: [headers!] });

    const { catalog } = await look();

    expect(catalog.kernels).toMatchObject([{ sources: ["debian/bookworm-security"] }]);
    expect(catalog.kernels[0]?.packages.headers.map(({ source }) => source)).toEqual([
      "debian/bookworm-security",
      "debian/bookworm",
      "debian/bookworm",
    ]);
    expect(catalog.kernels[0]).not.toHaveProperty("missing");
  });

  test("keeps everything of a source that fails, and names it", async () => {
    const { repository, look } = await openCatalog();
    repository.publish("bookworm", { packages: kernelPackages(56) });
    const first = await look();
    repository.files.set("dists/bookworm/InRelease", Buffer.from("nonsense"));

    const { catalog, problems } = await look(first.catalog, WEDNESDAY);

    expect(problems).toMatchObject([{ source: "debian/bookworm", integrity: true }]);
    expect(catalog.sources).toMatchObject([
      { status: "failed", metadataDate: first.catalog.sources[0]?.metadataDate, kernels: { x86_64: 1 } },
    ]);
    expect(catalog.kernels).toMatchObject([
      { kversion: "6.1.0-56-amd64", staleSince: WEDNESDAY.toISOString() },
    ]);
    expect(catalog.guests).toEqual(first.catalog.guests);
  });

  test("forgets a failure when the source is well again", async () => {
    const { repository, look } = await openCatalog();
    repository.publish("bookworm", { packages: kernelPackages(56) });
    const good = new Map(repository.files);
    const first = await look();
    repository.files.clear();
    const down = await look(first.catalog);
    for (const [path, bytes] of good) repository.files.set(path, bytes);

    const { catalog, problems } = await look(down.catalog);

    expect(down.problems).toHaveLength(1);
    expect(problems).toEqual([]);
    expect(sameFacts(catalog, first.catalog)).toBe(true);
  });

  test("a suite that never was there is a fact; one that is gone is a failure", async () => {
    const { repository, look } = await openCatalog(["bookworm", "bookworm-backports"]);
    repository.publish("bookworm", { packages: kernelPackages(55) });

    const never = await look();
    repository.publish("bookworm-backports", { packages: kernelPackages(56) });
    const there = await look(never.catalog);
    repository.files.delete("dists/bookworm-backports/InRelease");
    const gone = await look(there.catalog);

    expect([never, there, gone].map(({ catalog }) => catalog.sources[1]?.status)).toEqual([
      "notServed",
      "ok",
      "failed",
    ]);
    expect([never, there].flatMap(({ problems }) => problems)).toEqual([]);
    expect(gone.problems).toMatchObject([
      { detail: `failed: the server no longer has ${repository.url}/dists/bookworm-backports/InRelease` },
    ]);
    expect(gone.catalog.sources[1]?.kernels).toEqual({ x86_64: 1 });
  });

  test.each<[string, Partial<AptSource>, string, readonly string[]]>([
    ["that the configuration names", { isRequired: true }, "bookworm", ["debian/nosuch"]],
    ["of a release that has none at all", {}, "trixie", ["debian/bookworm", "debian/nosuch"]],
  ])("a suite %s must be there", async (_, changes, served, failed) => {
    const { repository, look } = await openCatalog(["bookworm", "nosuch"], changes);
    repository.publish(served, { packages: kernelPackages(55) });

    const { catalog, problems } = await look();

    expect(problems.map(({ source, detail }) => [source, detail])).toEqual(
      failed.map((id) => [
        id,
        `failed: the server has no ${repository.url}/dists/${id.slice("debian/".length)}/InRelease`,
      ]),
    );
    expect(catalog.sources.flatMap(({ id, status }) => (status === "failed" ? [id] : []))).toEqual(failed);
  });

  test("a place that the configuration names and that has nothing is a failure, whatever others have", async () => {
    const { repository, look } = await openCatalog(["bookworm", "bookworm-security", "trixie-security"]);
    repository.publish("bookworm", { packages: kernelPackages(55) });
    const at = (place: string) => (source: AptSource) =>
      source.suite.endsWith("-security") ? { ...source, url: place, place } : source;

    const { problems } = await look(EMPTY_CATALOG, TUESDAY, ["x86_64"], at(`${repository.url}/wrong`));

    expect(problems.map(({ source }) => source)).toEqual([
      "debian/bookworm-security",
      "debian/trixie-security",
    ]);
  });

  test("expired metadata is not used where nobody accepts it", async () => {
    const { repository, look } = await openCatalog();
    const validUntil = "Mon, 09 Feb 2026 10:00:00 UTC";
    repository.publish("bookworm", { packages: kernelPackages(56), validUntil });

    expect(await stateOf(look())).toMatchObject({
      status: "expired",
      detail: "its metadata was valid until 2026-02-09T10:00:00.000Z",
      kernels: 0,
      problems: 1,
    });
  });

  test("expired metadata that is accepted is used, shows as stale, and is no problem", async () => {
    const { repository, look } = await openCatalog(["bookworm"], { acceptExpired: true });
    const validUntil = "Mon, 09 Feb 2026 10:00:00 UTC";
    repository.publish("bookworm", { packages: kernelPackages(56), validUntil });

    const { catalog, problems } = await look();

    expect(problems).toEqual([]);
    expect(catalog.sources).toMatchObject([{ status: "expired", accepted: true }]);
    expect(catalog.kernels).toMatchObject([{ staleSince: "2026-02-09T10:00:00.000Z" }]);
  });

  test("metadata that goes back in time is suspect, and what it says is not taken", async () => {
    const { repository, look } = await openCatalog();
    const [old, fresh] = ["Sat, 07 Feb 2026 10:00:00 UTC", "Sun, 08 Feb 2026 10:00:00 UTC"];
    repository.publish("bookworm", { packages: kernelPackages(56), date: fresh });
    const first = await look();
    repository.publish("bookworm", { packages: kernelPackages(55), date: old });

    const { catalog, problems } = await look(first.catalog);

    expect(problems).toMatchObject([
      { detail: expect.stringContaining("2026-02-07T10:00:00.000Z is older"), integrity: false },
    ]);
    expect(catalog.sources).toMatchObject([{ status: "suspect", metadataDate: "2026-02-08T10:00:00.000Z" }]);
    expect(catalog.kernels.map(({ kversion }) => kversion)).toEqual(["6.1.0-56-amd64"]);
  });

  test("a source that lists more kernels than exist is suspect, and none of them is taken", () => {
    const packages = Array.from(
      { length: 20_001 },
      (_, at): ListedPackage => ({
        ...{ name: "kernel-devel", version: `5.14.0-${at}.el9`, architecture: "x86_64", size: 1 },
        ...{ sha256: "a".repeat(64), path: "a", source: "evil", depends: "" },
      }),
    );
    const [evil, good] = ["evil", "good"].map((id) =>
      unsignedAnswer(
        id,
        id === "evil" ? packages : packages.slice(0, 1).map((one) => ({ ...one, source: "good" })),
      ),
    );

    const { catalog, problems } = updateCatalog(EMPTY_CATALOG, [evil as Answered, good as Answered], {
      now: TUESDAY,
    });

    expect(catalog.kernels.map(({ sources }) => sources)).toEqual([["evil", "good"]]);
    expect(problems).toMatchObject([{ source: "evil", detail: expect.stringContaining("20001 kernels") }]);
  });

  test("an unsigned repository does not replace the headers that a signed one lists", () => {
    const uname = "5.14.0-1.el9.x86_64+rt";
    const package_ = (source: string, name: string, digit: string): ListedPackage => ({
      ...{
        name,
        version: "5.14.0-1.el9",
        architecture: "x86_64",
        size: 1,
        sha256: digit.repeat(64),
        path: "a",
        source,
      },
      ...{ depends: "", provides: [{ name: "kernel-devel-uname-r", version: uname }] },
    });
    const { metadata, ...signed } = unsignedAnswer("good", [package_("good", "kernel-rt-devel", "a")])
      .answer as Extract<SourceAnswer, { kind: "read" }>;
    const { unsigned: _, ...rest } = metadata;
    const good = { ...unsignedAnswer("good", []), answer: { ...signed, metadata: rest } } as Answered;

    const { catalog } = updateCatalog(
      EMPTY_CATALOG,
      [unsignedAnswer("evil", [package_("evil", "kernel-devel", "e")]), good],
      { now: TUESDAY },
    );

    expect(catalog.kernels).toMatchObject([
      {
        kversion: uname,
        flavour: "rt",
        sources: ["good"],
        packages: { headers: [{ name: "kernel-rt-devel", source: "good" }] },
      },
    ]);
  });

  test("metadata from the future is suspect, and counts for nothing afterwards", async () => {
    const { repository, look } = await openCatalog();
    const [past, future] = ["Sat, 07 Feb 2026 10:00:00 UTC", "Sun, 08 Feb 2099 10:00:00 UTC"];
    repository.publish("bookworm", { packages: kernelPackages(55), date: future });
    const first = await look();
    repository.publish("bookworm", { packages: kernelPackages(56), date: past });
    const poisoned = {
      ...first.catalog,
      sources: first.catalog.sources.map((one) => ({ ...one, metadataDate: "2099-02-08T10:00:00.000Z" })),
    };

    const { catalog, problems } = await look(poisoned);

    expect(first.problems).toMatchObject([
      { detail: expect.stringContaining("from the future"), integrity: false },
    ]);
    expect(first.catalog.kernels).toEqual([]);
    expect(problems).toEqual([]);
    expect(catalog.sources).toMatchObject([{ status: "ok", metadataDate: "2026-02-07T10:00:00.000Z" }]);
    expect(catalog.kernels.map(({ kversion }) => kversion)).toEqual(["6.1.0-56-amd64"]);
  });

  test("a source that lost much at once is a problem, until a person accepts it", async () => {
    const { repository, look } = await openCatalog();
    repository.publish("bookworm", { packages: [54, 55, 56].flatMap(kernelPackages) });
    const first = await look();
    repository.publish("bookworm", { packages: kernelPackages(56) });

    const { catalog, problems } = await look(first.catalog);

    expect(problems).toMatchObject([{ detail: expect.stringContaining("2 of its 3 kernels are gone") }]);
    expect(catalog.kernels).toHaveLength(3);
  });
});

describe("lateness", () => {
  const days = (...numbers: number[]) => numbers.map((day) => new Date(Date.UTC(2026, 0, day)).toISOString());
  const now = new Date(Date.UTC(2026, 0, 100));

  test.each<[string, string | undefined, readonly string[], RegExp | undefined]>([
    ["Valid-Until is over", days(99)[0], days(97, 98), /valid until 2026-04-09/],
    ["Valid-Until is not over, whatever the cadence", days(101)[0], days(1, 2, 3), undefined],
    ["no cadence is known yet", undefined, days(1), undefined],
    ["one interval proves no cadence", undefined, days(1, 2), undefined],
    ["thrice the usual interval is over", undefined, days(60, 67, 74), /26 days old.*every 7/],
    ["thrice the usual interval is not over", undefined, days(60, 70, 80), undefined],
    ["a fortnight is not over", undefined, days(84, 85, 86), undefined],
    ["a fortnight is just over", undefined, days(83, 84, 85), /15 days old.*every 1/],
    ["one long pause does not count for the usual", undefined, days(1, 78, 79, 80), /every 1/],
  ])("%s", (_, validUntil, cadence, words) => {
    const late = lateness(cadence.at(-1) as string, validUntil, cadence, now);

    if (words === undefined) expect(late).toBeUndefined();
    else expect(late).toMatch(words);
  });
});
