import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readDebChangelog } from "./deb-changelog.ts";

const read = (text: string) => readDebChangelog([Buffer.from(text)], "linux");

/** As linux writes it, shortened. */
const REAL = `linux (6.1.174-1) bookworm-security; urgency=high

  * New upstream stable update:
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.1.173
    - [amd64] x86/CPU/AMD: Add ZenX generations flags
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.1.174
    - net: skbuff: preserve shared-frag marker during coalescing
      (CVE-2026-46300)
    - Revert "net: phy: handle
      things"
    - [x86,arm64] mm: close a race. (CVE-2026-1000, CVE-2026-1001) (Closes: #1)

  [ Salvatore Bonaccorso ]
  * smb: client: reject userspace cifs.spnego descriptions
  * Revert "epoll: use refcount (again)" (CVE-2025-38349)
  * Bump ABI to 28
  * drivers:
    - one: first
    - two: second

 -- Salvatore Bonaccorso <carnil@debian.org>  Tue, 26 May 2026 23:29:19 +0200

linux (6.1.172-1) bookworm-security; urgency=high

  * New upstream stable update:
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.1.171
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.1.172

 -- Salvatore Bonaccorso <carnil@debian.org>  Fri, 15 May 2026 01:00:00 -0530
`;

describe("the changelog of a kernel", () => {
  test("says what each upload took in, and what it changed itself", async () => {
    const { entries, isTrimmed, damaged } = await read(REAL);

    expect([isTrimmed, damaged]).toEqual([false, 0]);
    expect(entries).toEqual([
      {
        ...{ source: "linux", version: "6.1.174-1", suite: "bookworm-security", day: "2026-05-26" },
        stable: ["6.1.173", "6.1.174"],
        bullets: [
          { text: "New upstream stable update:" },
          { text: "[amd64] x86/CPU/AMD: Add ZenX generations flags", stable: "6.1.173" },
          {
            text: "net: skbuff: preserve shared-frag marker during coalescing (CVE-2026-46300)",
            stable: "6.1.174",
          },
          { text: 'Revert "net: phy: handle things"', stable: "6.1.174" },
          {
            text: "[x86,arm64] mm: close a race. (CVE-2026-1000, CVE-2026-1001) (Closes: #1)",
            stable: "6.1.174",
          },
          { text: "smb: client: reject userspace cifs.spnego descriptions" },
          { text: 'Revert "epoll: use refcount (again)" (CVE-2025-38349)' },
          { text: "Bump ABI to 28" },
          { text: "drivers:" },
          { text: "one: first" },
          { text: "two: second" },
        ],
      },
      {
        ...{ source: "linux", version: "6.1.172-1", suite: "bookworm-security", day: "2026-05-15" },
        stable: ["6.1.171", "6.1.172"],
        bullets: [{ text: "New upstream stable update:" }],
      },
    ]);
  });

  test("is the same with carriage returns, and however it is cut", async () => {
    const whole = await read(REAL);

    expect(await read(REAL.replaceAll("\n", "\r\n"))).toEqual(whole);
    expect(
      await readDebChangelog(
        [...Buffer.from(REAL)].map((one) => Buffer.of(one)),
        "linux",
      ),
    ).toEqual(whole);
  });

  test("of Ubuntu names the stable release in a change", async () => {
    const { entries } = await read(`linux (5.15.0-30.31) jammy; urgency=medium

  * CVE-2025-38350
    - net/sched: Always pass notifications when child class becomes empty

  * Jammy update: v5.15.30 upstream stable release (LP: #1966057)
    - Revert "xfrm: state and policy should fail if XFRMA_IF_ID 0"
    - xfrm: Check if_id in xfrm_migrate

 -- A B <a@example.org>  Thu, 31 Mar 2022 10:00:00 +0000
`);

    expect(entries[0]).toMatchObject({
      stable: ["5.15.30"],
      bullets: [
        { text: "CVE-2025-38350" },
        { text: "net/sched: Always pass notifications when child class becomes empty" },
        { text: "Jammy update: v5.15.30 upstream stable release (LP: #1966057)" },
        { text: 'Revert "xfrm: state and policy should fail if XFRMA_IF_ID 0"', stable: "5.15.30" },
        { text: "xfrm: Check if_id in xfrm_migrate", stable: "5.15.30" },
      ],
    });
  });

  test("says when its older entries were removed", async () => {
    expect(await read(`${REAL}\n# Older entries have been removed from this changelog.\n`)).toMatchObject({
      isTrimmed: true,
    });
  });

  test("has no time for an entry whose trailer is missing or wrong", async () => {
    const { entries, damaged } = await read(REAL.replace(/ -- Salv.*\n/, "").replace("15 May", "15 Mai"));

    expect(damaged).toBe(2);
    expect(entries.map(({ version, day }) => [version, day])).toEqual([
      ["6.1.174-1", undefined],
      ["6.1.172-1", undefined],
    ]);
  });

  test.each([
    [
      "bytes",
      function* () {
        for (let i = 0; i < 100; i++) yield Buffer.alloc(1 << 20, "x");
      },
    ],
    ["entries", () => [Buffer.from("linux (1) a; u\n".repeat(6000))]],
    [
      "lines",
      function* () {
        yield Buffer.from("linux (1) a; u\n");
        for (let i = 0; i < 110; i++) yield Buffer.from("    - x\n".repeat(10_000));
      },
    ],
  ])("of too many %s is refused", async (_, chunks: () => Iterable<Buffer>) => {
    await expect(readDebChangelog(chunks(), "linux")).rejects.toMatchObject({ code: "PACKAGE_MALFORMED" });
  });

  test("of whatever bytes gives entries or none, and no line keeps anybody waiting", async () => {
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom(...REAL.split("\n")),
      fc.constantFrom("(".repeat(5000), `  * ${"[a] ".repeat(2000)}`, ` -- ${" ".repeat(5000)}`),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 30 }), async (lines) => {
        const { entries } = await read(lines.join("\n"));
        for (const { source, version } of entries) expect(`${source}${version}`).not.toMatch(/\s/);
      }),
      { numRuns: 200 },
    );
  });
});
