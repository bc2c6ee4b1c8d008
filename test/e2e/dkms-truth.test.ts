/**
 * A sample of made-up trees of DKMS, by the real dkms of Debian 13 and by ours; the wide test has many more, on two
 * releases.
 */
import { describe, expect, it } from "vitest";
import { dkmsTree } from "../support/dkms-trees.ts";
import { compareDkms, dkmsWorld, hasOwnPrograms } from "../support/real-dkms.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/** Each of another kind: scripts, patches, exclusions, records, values, faults of every stage. */
const SEEDS = [6, 12, 15, 17, 27, 31, 44, 55];

describe.skipIf(!hasOwnPrograms())("made-up trees of DKMS", () => {
  it("come to what the real dkms makes of them", async () => {
    const world = await dkmsWorld("debian13", "/", await temporaryDirectory());
    const differences = [];
    for (const seed of SEEDS) differences.push(...(await compareDkms(world, dkmsTree(seed))).differences);

    expect(differences).toEqual([]);
  });
});
