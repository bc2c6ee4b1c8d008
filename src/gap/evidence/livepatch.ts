/** What live patches have closed in the running kernel of a node. One that is still being applied has closed nothing yet. */
import type { Book } from "../book.ts";
import type { RecordOf } from "../records.ts";
import type { Target } from "../target.ts";
import type { Evidence } from "../verdict.ts";

type LivePatch = RecordOf<"livepatch">;

/** By the CVE: what patches themselves are known to close, and what advisories say of their packages. */
export function livePatchEvidence(book: Book, target: Target): ReadonlyMap<string, readonly Evidence[]> {
  const closed = patchesIn(book, target).flatMap((patch) => [
    ...patch.cves.map((cve) => ({ cve, patch, ref: patch.patch })),
    ...advisedOf(patch, book, target).flatMap(({ id, cves }) =>
      cves.map((cve) => ({ cve, patch, ref: `${patch.patch}, ${id}` })),
    ),
  ]);
  const evidence = closed.map(({ cve, patch: { at }, ref }) => ({
    cve,
    one: {
      ...({ id: "livepatch", says: "livepatched", ref, feed: "livepatch" } as const),
      ...(at === undefined ? {} : { day: at }),
    },
  }));
  const byCve = Map.groupBy(evidence, ({ cve }) => cve);
  return new Map([...byCve].map(([cve, all]) => [cve, all.map(({ one }) => one)]));
}

/** Those that are applied, and that no other has taken the place of. */
function patchesIn({ livePatches }: Book, { node }: Target): LivePatch[] {
  if (node === undefined) return [];
  const own = livePatches.filter((patch) => patch.node === node.name && patch.kernel === node.release);
  return own.filter(
    (patch) => patch.state === "applied" && !own.some((other) => other !== patch && replaces(other, patch)),
  );
}

/** Tasks leave a patch that is replaced as soon as that begins. */
function replaces({ replace, state, stackOrder = Number.POSITIVE_INFINITY }: LivePatch, before: LivePatch) {
  return replace === true && state !== "not_applied" && stackOrder > (before.stackOrder ?? 0);
}

/** Advisories about a patch's package that its version fulfils. */
function advisedOf(
  { package: installed }: LivePatch,
  { advisories }: Book,
  { distribution = "", compareVersions }: Target,
): RecordOf<"advisory">[] {
  if (installed === undefined || compareVersions === undefined) return [];
  return advisories.flatMap(({ advisory }) => {
    const { livepatch, package: name, release, status, version } = advisory;
    const isAbout =
      livepatch === true &&
      name === installed.name &&
      (distribution === release || distribution.startsWith(`${release}.`));
    return isAbout &&
      status === "fixed" &&
      version !== undefined &&
      compareVersions(installed.version, version) >= 0
      ? [advisory]
      : [];
  });
}
