import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeBuild, makeStatement } from "../../test/support/statements.ts";
import { sha256 } from "../base/json.ts";
import { provenanceOf, unnamedMaterials } from "./build.ts";
import { readStatement, subjectsOf, writeStatement } from "./statement.ts";

const GOOD = makeStatement();
const read = (value: unknown) => readStatement(Buffer.from(JSON.stringify(value)), "x");

/** The statement with a value at a path; `undefined` takes it away. */
function changed(path: readonly (string | number)[], value: unknown): unknown {
  const copy = structuredClone(GOOD) as unknown as Record<string | number, unknown>;
  let place = copy;
  for (const step of path.slice(0, -1)) place = place[step] as typeof place;
  const last = path.at(-1) as string | number;
  if (value === undefined) delete place[last];
  else place[last] = value;
  return copy;
}

describe("a statement", () => {
  test("is read as it was written", () => {
    expect(readStatement(Buffer.from(writeStatement(GOOD)), "x")).toEqual(GOOD);
  });

  test("names stripped modules, and what they were before", () => {
    const [digest, stripped] = [sha256("built"), sha256("stripped")];

    expect(
      subjectsOf([
        { name: "b", digest, stripped },
        { name: "a", digest },
      ]).map(({ name }) => name),
    ).toEqual(["a.ko", "b.ko", "built/b.ko"]);
  });

  const BUILD = ["predicate", "buildDefinition"] as const;
  const RUN = ["predicate", "runDetails"] as const;
  const digest = "a".repeat(64);
  test.each<[string, readonly (string | number)[], unknown]>([
    ["of another type", ["_type"], "https://in-toto.io/Statement/v0.1"],
    ["without a type", ["_type"], undefined],
    ["of an older predicate", ["predicateType"], "https://slsa.dev/provenance/v0.2"],
    ["without subjects", ["subject"], []],
    ["of two subjects of one name", ["subject"], [GOOD.subject[0], GOOD.subject[0]]],
    [
      "of 10,000 subjects",
      ["subject"],
      Array.from({ length: 10_000 }, (_, at) => ({ name: `m${at}.ko`, digest: { sha256: digest } })),
    ],
    ["with a digest in capitals", ["subject", 0, "digest", "sha256"], "A".repeat(64)],
    ["with a short digest", ["subject", 0, "digest", "sha256"], "a".repeat(63)],
    ["with SHA-1 alone", ["subject", 0, "digest"], { sha1: "a".repeat(40) }],
    ["with MD5 beside", ["subject", 0, "digest"], { sha256: digest, md5: "a".repeat(32) }],
    ["with a path for a name", ["subject", 0, "name"], "../../x.ko"],
    ["with a control character in a name", ["subject", 0, "name"], "x\u001b.ko"],
    ["with a field of its own", ["note"], "x"],
    ["with a field of its own in a subject", ["subject", 0, "note"], "x"],
    ["with a field of its own in the predicate", ["predicate", "note"], "x"],
    ["of another type of build", [...BUILD, "buildType"], "https://slsa.dev/container-based-build/v0.1"],
    ["with one more parameter", [...BUILD, "externalParameters", "config"], {}],
    ["with one more parameter of the target", [...BUILD, "externalParameters", "target", "x"], "y"],
    ["without a parameter", [...BUILD, "externalParameters", "target", "flavour"], undefined],
    ["with a dependency of nothing", [...BUILD, "resolvedDependencies", 0], { name: "x" }],
    [
      "with a dependency in capitals",
      [...BUILD, "resolvedDependencies", 0, "digest", "sha256"],
      "A".repeat(64),
    ],
    ["without a builder", [...RUN, "builder", "id"], undefined],
    ["with a builder that is no URI", [...RUN, "builder", "id"], "me"],
    [
      "of a build that ended before it began",
      [...RUN, "metadata"],
      { startedOn: "2026-11-29T02:00:00Z", finishedOn: "2026-11-29T01:59:59Z" },
    ],
    ["with a time without a zone", [...RUN, "metadata"], { startedOn: "2026-11-29T02:00:00" }],
  ])("%s is refused", (_, path, value) => {
    expect(() => read(changed(path, value))).toThrow(
      expect.objectContaining({ code: "PROVENANCE_MALFORMED" }),
    );
  });

  test("may have what the standard has beside", () => {
    const beside = changed([...RUN, "metadata"], {
      invocationId: "7",
      startedOn: "2026-11-29T02:00:00Z",
      finishedOn: "2026-11-29T02:00:00Z",
    });

    expect(() => read(beside)).not.toThrow();
    expect(() => read(changed([...RUN, "builder", "version"], { farm: "1.2" }))).not.toThrow();
  });

  test("or one error is what any damage to it gives", () => {
    const good = writeStatement(GOOD);

    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const bytes = Buffer.from(good);
        bytes[at] = byte;
        try {
          readStatement(bytes, "x");
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "PROVENANCE_MALFORMED" });
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("the farm's own statement", () => {
  test("names packages by purl, with digests where they are known", () => {
    const { resolvedDependencies } = GOOD.predicate.buildDefinition;

    expect(resolvedDependencies).toContainEqual({
      name: "linux-headers-6.12.107+deb13-amd64",
      uri: "pkg:deb/debian/linux-headers-6.12.107%2Bdeb13-amd64@6.12.107-1?distro=debian-13",
      digest: { sha256: "b".repeat(64) },
    });
    expect(resolvedDependencies).toContainEqual({
      name: "gcc-14",
      uri: "pkg:deb/debian/gcc-14@14.2.0-19?distro=debian-13",
    });
  });

  test("holds rpm packages with their epoch beside the version", () => {
    const build = makeBuild({ toolchain: "almalinux9.5" });
    const toolchain = [{ name: "gcc", version: "2:11.5.0-2.el9" }];
    const made = provenanceOf("urn:x:y", { ...build, recipe: { ...build.recipe, toolchain } });

    expect(made.buildDefinition.resolvedDependencies?.at(-1)?.uri).toBe(
      "pkg:rpm/almalinux/gcc@11.5.0-2.el9?distro=almalinux-9.5&epoch=2",
    );
    expect(unnamedMaterials({ ...build, recipe: { ...build.recipe, toolchain } }, made)).toEqual([]);
  });

  test.each([
    [{ kind: "git", place: "https://example.org/x.git", commit: "abc1" }, "git+https://example.org/x.git"],
    [
      { kind: "archive", place: "https://example.org/x.tar.gz", sha256: "c".repeat(64) },
      "https://example.org/x.tar.gz",
    ],
  ] as const)("says where a source came from", (origin, uri) => {
    const { resolvedDependencies } = provenanceOf("urn:x:y", makeBuild({ origin })).buildDefinition;

    expect(resolvedDependencies?.find(({ name }) => name === "origin")?.uri).toBe(uri);
  });

  test.each([
    { kind: "directory", place: "/home/ann/driver" },
    { kind: "archive", place: "/home/ann/x.tar", sha256: "c".repeat(64) },
    { kind: "git", place: "/home/ann/x.git", commit: "abc1" },
  ] as const)("keeps the builder's own places to itself", (origin) => {
    expect(JSON.stringify(provenanceOf("urn:x:y", makeBuild({ origin })))).not.toContain("/home");
  });

  test("names all that its recipe does; whatever it leaves out is found", () => {
    const build = makeBuild();
    const made = provenanceOf("urn:x:y", build);
    const { resolvedDependencies = [] } = made.buildDefinition;

    expect(unnamedMaterials(build, made)).toEqual([]);
    expect(resolvedDependencies.length).toBeGreaterThan(5);
    for (const left of resolvedDependencies) {
      const rest = resolvedDependencies.filter((one) => one !== left);
      const less = { ...made, buildDefinition: { ...made.buildDefinition, resolvedDependencies: rest } };
      expect(unnamedMaterials(build, less), left.name).toHaveLength(1);
    }
    const noLog = { ...made, runDetails: { ...made.runDetails, byproducts: [] } };
    expect(unnamedMaterials(build, noLog)).toEqual(["build.log"]);
  });
});
