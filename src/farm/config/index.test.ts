import { execFileSync } from "node:child_process";
import { chmod, chown, mkdir, symlink, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { debian } from "../../kernel/distributions/debian.ts";
import { findConfig, loadConfig, parseConfig, userCache } from "./index.ts";

const FILE = "kmodfarm.yaml";
const DRIVER = "name: doorbell\n    source: src\n    versions: [0.1.1]";

const refusal = (text: string): string => {
  try {
    parseConfig(text, FILE);
  } catch (thrown) {
    expect(thrown).toMatchObject({ name: "FarmError", code: "CONFIG_INVALID" });
    return (thrown as Error).message;
  }
  throw new Error("it was not refused");
};

describe("parseConfig", () => {
  test("knows what to do without a word", () => {
    const config = parseConfig("", FILE);

    expect(config).toMatchObject({ drivers: [], select: [{}], store: ".kmodfarm/store" });
    expect(config.sources).toEqual([{ kind: "apt", releases: debian.releases.map(({ key }) => key) }]);
  });

  test("reads what a farm says", () => {
    const config = parseConfig(
      `
drivers:
  - name: doorbell
    source: drivers/doorbell-{version}
    versions: [0.1.1, 0.2.0]
    modules: [doorbell, tally]
sources:
  - kind: apt
    releases: [debian12]
    mirror: http://mirror.example/debian
    acceptExpired: true
select:
  - distributions: [debian12]
    newest: 2
  - kernelRelease: 6\\.12\\..*
jobs: 4
`,
      FILE,
    );

    expect(config).toMatchObject({
      drivers: [{ name: "doorbell", versions: ["0.1.1", "0.2.0"], modules: ["doorbell", "tally"] }],
      sources: [{ kind: "apt", mirror: "http://mirror.example/debian", acceptExpired: true }],
      select: [{ distributions: ["debian12"], newest: 2 }, { kernelRelease: "6\\.12\\..*" }],
      jobs: 4,
    });
  });

  test.each([
    ["job: 4", /^kmodfarm\.yaml: .*"job".*\(did you mean 'jobs'\?\)$/],
    ["divers: []", /did you mean 'drivers'\?/],
    [`drivers:\n  - ${DRIVER}\n    module: [a]`, /drivers\[0\]: .*"module".*did you mean 'modules'\?/],
    ["sources:\n  - {kind: apt, releases: [debian12], miror: x}", /sources\[0\].*did you mean 'mirror'\?/],
  ])("names the likely word for an unknown one: %s", (text, words) => {
    expect(refusal(text)).toMatch(words);
  });

  test("does not guess at a word that is like no other", () => {
    expect(refusal("completelyDifferent: 1")).not.toContain("did you mean");
  });

  test.each([
    ["a colon too many", "drivers: []\nstore: a: b\n", /^kmodfarm\.yaml: .*line 2, column \d+$/],
    ["a bracket that is not closed", "store: x\njobs: 1\ndrivers: [\n", /at line \d+, column \d+$/],
    ["a key twice", "jobs: 1\njobs: 2\n", /unique.*line 2/],
    ["a tab", "drivers:\n\t- name: a\n", /line 2/],
  ])("names the line of YAML with %s", (_, text, words) => {
    expect(refusal(text)).toMatch(words);
  });

  test.each([
    ["a list for a configuration", "- a", /object/],
    ["no jobs at all", "jobs: 0", /^kmodfarm\.yaml: jobs: /],
    ["half a job", "jobs: 1.5", /jobs: must be a whole number/],
    [
      "a driver without versions",
      "drivers:\n  - {name: a, source: b, versions: []}",
      /drivers\[0\]\.versions/,
    ],
    [
      "a version that is a number",
      "drivers:\n  - {name: a, source: b, versions: [1.0]}",
      /versions\[0\].*string/,
    ],
    ["a driver that leads out", "drivers:\n  - {name: ../a, source: b, versions: [a]}", /drivers\[0\]\.name/],
    [
      "a mirror that is no web server",
      "sources:\n  - {kind: apt, releases: [a], mirror: file:///x}",
      /mirror/,
    ],
    [
      "a package name that apt would take for an order",
      "drivers: [{name: a, source: b, versions: [1.0.0], packages: [bash-]}]",
      /drivers\[0\].packages\[0\]: not the name of a package/,
    ],
    [
      "a package name that is a pattern",
      "drivers: [{name: a, source: b, versions: [1.0.0], packages: ['?essential']}]",
      /not the name/,
    ],
    ["another architecture", "select: {architectures: [riscv64]}", /select/],
  ])("refuses %s", (_, text, words) => {
    expect(refusal(text)).toMatch(words);
  });

  test.each<[string, string, RegExp]>([
    ["a revision without a repository", "source: {revision: v1}", /git.*missing/],
    ["a repository without a revision", "source: {git: x}", /revision.*missing/],
    ["a git place with a word too many", "source: {git: x, revision: v1, depth: 1}", /no setting "depth"/],
    ["an archive of an unknown digest", "source: {url: 'https://a.example/x.tar'}", /sha256/],
    ["a digest that is none", "source: {url: 'https://a.example/x.tar', sha256: abc}", /not a SHA-256/],
    ["a package without a release", "source: {package: x-dkms}", /release.*missing/],
    ["a directory that leads out", "source: b, directory: ../c", /must be a path inside the tree/],
    ["an absolute pattern", "source: b, files: [/etc/passwd]", /inside the tree/],
    ["a pattern with a shell's own signs", "source: b, files: ['$(id)']", /not a plain pattern/],
    ["another compression", "source: b, compress: lzma", /"xz" or "zstd" or "gz"/],
    ["two ways to build at once", "source: b, build: dkms, make: make", /give either/],
  ])("refuses a driver with %s", (_, text, words) => {
    expect(refusal(`drivers: [{name: a, versions: [1.0.0], ${text}}]`)).toMatch(words);
  });

  test.each([
    "driver-{version}.tar.gz",
    { git: "https://host.example/driver.git", revision: "release/v{version}" },
    { url: "https://host.example/driver-{version}.tar.xz", sha256: { "1.0.0": "0".repeat(64) } },
    { package: "driver-dkms", release: "debian13", component: "non-free" },
  ])("keeps the source %j as it is written", (source) => {
    const text = JSON.stringify({ drivers: [{ name: "a", versions: ["1.0.0"], source }] });

    expect(parseConfig(text, FILE).drivers[0]?.source).toEqual(source);
  });

  test("refuses two versions that would share their paths", () => {
    const text = "drivers:\n  - {name: a, source: b, versions: [0.1.0, 0.2.0, 0.1.1]}";

    expect(refusal(text)).toContain("versions 0.1.0 and 0.1.1 of a would both be stored at a/0.1.0");
    expect(refusal("drivers:\n  - {name: a, source: b, series: s, versions: [1.0.0, 2.0.0]}")).toContain(
      "a/s",
    );
  });

  test("takes one series of two drivers, and two series of one", () => {
    const text =
      "drivers:\n  - {name: a, source: b, versions: [0.1.0, 0.2.0]}\n  - {name: b, source: b, versions: [0.1.1]}";

    expect(parseConfig(text, FILE).drivers).toHaveLength(2);
  });

  test("does not grow without end from a few lines", () => {
    const rows = Array.from({ length: 12 }, (_, row) =>
      row === 0
        ? "a0: &a0 [x]"
        : `a${row}: &a${row} [${Array(10)
            .fill(`*a${row - 1}`)
            .join(", ")}]`,
    );

    expect(() => parseConfig(rows.join("\n"), FILE)).toThrow(/alias/);
  });
});

describe("loadConfig", () => {
  test("takes paths from where the file is, and options from where we are", async () => {
    const directory = await temporaryDirectory();
    await mkdir(join(directory, "etc"));
    await writeFile(
      join(directory, "etc", "farm.yaml"),
      "store: ../store\ncache: /var/cache/farm\njobs: 3\n",
    );

    const config = await loadConfig({ config: "etc/farm.yaml", store: "mine" }, directory);
    const plain = await loadConfig({ config: "etc/farm.yaml", jobs: 5 }, directory);

    expect(config).toMatchObject({
      base: join(directory, "etc"),
      store: join(directory, "mine"),
      cache: "/var/cache/farm",
      jobs: 3,
    });
    expect(plain).toMatchObject({ store: join(directory, "store"), jobs: 5 });
  });

  test("takes kmodfarm.yaml of this directory, and the defaults where there is none", async () => {
    const directory = await temporaryDirectory();

    const defaults = await loadConfig({}, directory);
    await writeFile(join(directory, "kmodfarm.yaml"), "select: {newest: 1}\n");
    const found = await loadConfig({}, directory);

    expect(defaults).toMatchObject({
      select: [{}],
      store: join(directory, ".kmodfarm/store"),
      cache: userCache(),
      jobs: availableParallelism(),
    });
    expect(found.select).toEqual([{ newest: 1 }]);
  });

  test("wants a file that was named to be there", async () => {
    const directory = await temporaryDirectory();

    await expect(loadConfig({ config: "none.yaml" }, directory)).rejects.toThrow(
      expect.objectContaining({
        code: "FILE_UNREADABLE",
        message: expect.stringContaining(join(directory, "none.yaml")),
      }),
    );
  });

  test("does not pass over a kmodfarm.yaml that cannot be read", async () => {
    const directory = await temporaryDirectory();
    await mkdir(join(directory, "kmodfarm.yaml"));

    await expect(loadConfig({}, directory)).rejects.toThrow(
      expect.objectContaining({ code: "FILE_UNREADABLE", message: expect.stringContaining("it is no file") }),
    );
  });
});

describe("limits of a build", () => {
  const limitsOf = (text: string) => parseConfig(text, "kmodfarm.yaml").limits;

  test("have defaults, each by itself", () => {
    expect(limitsOf("{}")).toEqual({
      minutes: 15,
      memory: 8 * 1024 ** 3,
      processes: 4096,
      disk: 8 * 1024 ** 3,
      output: 64 * 1024 ** 2,
      artifact: 1024 ** 3,
    });
    expect(limitsOf("limits: { memory: 512M, minutes: 0.5 }")).toMatchObject({
      minutes: 0.5,
      memory: 512 * 1024 ** 2,
      processes: 4096,
    });
  });

  test.each([
    ["memory: 8", /limits\.memory: must be a string: put it in quotes/],
    ["memory: 8 gigs", /limits\.memory: must be a size such as 20G or 500M/],
    ["minutes: 0", /limits\.minutes/],
    ["processes: 4", /limits\.processes/],
    ["memroy: 8G", /did you mean 'memory'/],
  ])("are not %o", (text, message) => {
    expect(() => limitsOf(`limits: { ${text} }`)).toThrow(message);
  });
});

test.each(["gs://bucket", "https://example.org/store"])(
  "a store of a kind that is not there is refused, and never a folder of that name: %s",
  async (store) => {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, "kmodfarm.yaml"), JSON.stringify({ store }));
    const refused = expect.objectContaining({
      code: "CONFIG_INVALID",
      message: expect.stringContaining(`the store ${store} is of the kind`),
    });

    await expect(loadConfig({}, directory)).rejects.toThrow(refused);
    await writeFile(join(directory, "kmodfarm.yaml"), "{}");
    await expect(loadConfig({ store }, directory)).rejects.toThrow(refused);
  },
);

describe.skipIf(process.getuid?.() !== 0)("a configuration of another user's", () => {
  test.each(["kmodfarm.yaml", "kmodfarm.yml"])(
    "is believed where anybody creates files only if it is named (%s)",
    async (name) => {
      const open = await temporaryDirectory();
      const file = join(open, name);
      await writeFile(file, "");
      await chown(file, 4242, 4242);
      await chmod(open, 0o1777);

      await expect(loadConfig({}, open)).rejects.toThrow(
        expect.objectContaining({
          code: "PLACE_UNUSABLE",
          message: `${file} belongs to another user (4242), and everybody may put a file there`,
        }),
      );
      expect((await loadConfig({ config: name }, open)).file).toBe(file);

      // As in a container of CI, where the checkout is another user's as a whole.
      await chmod(open, 0o755);
      expect((await loadConfig({}, open)).file).toBe(file);
    },
  );
});

test("without a configuration the cache is the user's, and one that is named wins", async () => {
  const directory = await temporaryDirectory();
  const { XDG_CACHE_HOME: before } = process.env;
  onTestFinished(() => {
    process.env.XDG_CACHE_HOME = before;
  });
  process.env.XDG_CACHE_HOME = join(directory, "caches");

  expect((await loadConfig({}, directory)).cache).toBe(join(directory, "caches/kmodfarm"));
  expect((await loadConfig({ cache: "own" }, directory)).cache).toBe(join(directory, "own"));
  await writeFile(join(directory, "kmodfarm.yaml"), "");
  expect((await loadConfig({}, directory)).cache).toBe(join(directory, ".kmodfarm/cache"));
});

test.each(["mkfifo kmodfarm.yaml", "mkdir kmodfarm.yaml"])(
  "what is no file is not read (%s)",
  async (command) => {
    const directory = await temporaryDirectory();
    execFileSync("sh", ["-c", command], { cwd: directory });

    await expect(loadConfig({}, directory)).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
  },
);

describe("the configuration above a directory", () => {
  test("is found, as .yaml and as .yml, and the nearest first", async () => {
    const top = await temporaryDirectory();
    await mkdir(join(top, "a/b"), { recursive: true });
    await writeFile(join(top, "kmodfarm.yaml"), "");
    expect(await findConfig(join(top, "a/b"))).toBe(join(top, "kmodfarm.yaml"));
    await writeFile(join(top, "a/kmodfarm.yml"), "");
    expect(await findConfig(join(top, "a/b"))).toBe(join(top, "a/kmodfarm.yml"));
  });

  test("is none that a stranger may have put there", async () => {
    const top = await temporaryDirectory();
    await mkdir(join(top, "open/below"), { recursive: true });
    await mkdir(join(top, "linked/below"), { recursive: true });
    await writeFile(join(top, "open/kmodfarm.yaml"), "");
    await writeFile(join(top, "ours.yaml"), "");
    await symlink(join(top, "ours.yaml"), join(top, "linked/kmodfarm.yaml"));
    await chmod(join(top, "open"), 0o1777);

    expect(await findConfig(join(top, "open/below"))).toBeUndefined();
    expect(await findConfig(join(top, "linked/below"))).toBeUndefined();
    // Who stands in the directory itself has chosen it.
    expect(await findConfig(join(top, "open"))).toBe(join(top, "open/kmodfarm.yaml"));
  });
});
