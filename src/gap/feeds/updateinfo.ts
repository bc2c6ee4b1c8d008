/** Advisories of an rpm repository, as its updateinfo.xml has them. Which distribution it is, their ids say. */

import { FarmError } from "../../base/error.ts";
import { updateinfoReader } from "../../formats/updateinfo.ts";
import { dayOf, type FeedKind } from "./feed.ts";
import { isKernelPackage, isLivePatchPackage } from "./packages.ts";

/** Of everything that is named like one, the family's own test decides. */
const WANTED = /^(?:kernel|kpatch-patch)(?:-|$)/;

export const updateinfo: FeedKind = {
  name: "updateinfo",
  address: "",
  licence: "that of the distribution",

  async read(files, found) {
    for await (const file of files) {
      if (!/updateinfo.*\.xml$/.test(file.name)) continue;
      const reader = updateinfoReader(file.name, WANTED, (advisory) => {
        const { id, cves, packages, issued, updated } = advisory;
        found.dated(updated ?? issued);
        if (cves.length === 0) return;
        const [published, modified] = [dayOf(issued), dayOf(updated)];
        const seen = new Set<string>();
        for (const { name, version } of packages) {
          if (!isKernelPackage(name) || seen.has(name)) continue;
          seen.add(name);
          const release = releaseOf(id, version);
          if (release === undefined) found.drop("is of a distribution that its id does not tell", id);
          else
            found.add(
              {
                ...{ type: "advisory", id, release, package: name, status: "fixed", version, cves },
                ...(published === undefined ? {} : { published }),
                ...(modified === undefined ? {} : { modified }),
                ...(isLivePatchPackage(name) ? { livepatch: true } : {}),
              },
              id,
            );
        }
      });
      try {
        for await (const chunk of file.body) reader.write(chunk);
        reader.end();
      } catch (thrown) {
        if (!(thrown instanceof FarmError)) throw thrown;
        found.drop("is damaged or is no updateinfo", `${file.name}: ${thrown.message}`);
      }
    }
  },
};

const PREFIXES: readonly (readonly [RegExp, string])[] = [
  [/^ALSA-/, "almalinux"],
  [/^RHSA-/, "rhel"],
  [/^RLSA-/, "rocky"],
  [/^ELSA-/, "ol"],
  [/^ALAS(?:2023|2)?/, "amazonlinux"],
  [/^FEDORA-/, "fedora"],
];

/** `almalinux9` of ALSA-… with a package `….el9_4`. */
function releaseOf(id: string, version: string): string | undefined {
  const distribution = PREFIXES.find(([pattern]) => pattern.test(id))?.[1];
  const [, major] = /\.(?:el|fc|amzn)(\d+)/.exec(version) ?? [];
  return distribution === undefined || major === undefined ? undefined : `${distribution}${major}`;
}
