/**
 * Made-up trees of DKMS, by the real dkms of two releases in roots of these, and by ours: outcome, the stage at which
 * it failed, modules, which of them are stripped, the first file that a compiler complains of. KMODFARM_TREES says how
 * many of each (default 40), KMODFARM_SEED which is the first.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readHostMirrors } from "../../src/catalog/apt-host.ts";
import { debian } from "../../src/kernel/distributions/debian.ts";
import { debianRoot } from "../support/debian-root.ts";
import { dkmsTree } from "../support/dkms-trees.ts";
import { TEST_CACHE } from "../support/e2e-mirror.ts";
import { CODENAMES, compareDkms, type DkmsRelease, dkmsWorld } from "../support/real-dkms.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const COUNT = Number(process.env.KMODFARM_TREES ?? 40);
const FIRST = Number(process.env.KMODFARM_SEED ?? 0);

/** A root with what dkms and our scripts call, of the release itself. */
async function rootOf(release: DkmsRelease): Promise<string> {
  const { main = debian.mirrors.main } = await readHostMirrors();
  return debianRoot(join(TEST_CACHE, "dkms", `root-${release}`), {
    ...{ codename: CODENAMES[release], variant: "essential" },
    sources: [`deb ${main} ${CODENAMES[release]} main`],
    packages: ["make", "patch", "kmod", "binutils", "file"],
  });
}

describe.each(["debian12", "debian13"] as const)("made-up trees of DKMS on %s", (release) => {
  it("come to what the release's own dkms makes of them", async () => {
    const world = await dkmsWorld(release, await rootOf(release), await temporaryDirectory());
    const seeds = Array.from({ length: COUNT }, (_, index) => FIRST + index);
    const [differences, tally]: [string[], Map<string, number>] = [[], new Map()];
    const compare = async () => {
      for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
        const { kind, differences: found } = await compareDkms(world, dkmsTree(seed));
        tally.set(kind, (tally.get(kind) ?? 0) + 1);
        differences.push(...found);
      }
    };
    await Promise.all([compare(), compare()]);
    const rows = [...tally]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([kind, count]) => `${count} ${kind}`);
    console.log(`${release}: ${COUNT} trees: ${rows.join(", ")}`);

    expect(differences).toEqual([]);
    expect(tally.size).toBeGreaterThan(3);
  });
});
