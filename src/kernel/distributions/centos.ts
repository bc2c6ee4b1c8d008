/**
 * CentOS: the last of the rebuilds (7), and Stream (8 and later), the next minor release of RHEL.
 */
import type { RpmDistribution } from "./distribution.ts";
import { rhel } from "./rhel.ts";
import { repository, rpmRelease } from "./rpm-family.ts";

export const centos: RpmDistribution = {
  ...rhel,
  id: "centos",
  releases: [
    rpmRelease(
      "centos",
      "7",
      ["os", "updates"].map((name) =>
        repository(
          name,
          `https://vault.centos.org/7.9.2009/${name}/$basearch/`,
          `https://vault.centos.org/altarch/7.9.2009/${name}/$basearch/`,
        ),
      ),
    ),
    stream("8", "https://vault.centos.org/8-stream"),
    stream("9"),
    stream("10"),
  ],
  releaseOf: (version) => (/^\d{2}$/.test(version) ? stream(version) : undefined),
};

function stream(version: string, place = `https://mirror.stream.centos.org/${version}-stream`) {
  const names = ["BaseOS", "AppStream", "RT", "NFV"];
  return rpmRelease(
    "centos",
    version,
    names.map((name) => repository(name, `${place}/${name}/$basearch/os/`)),
  );
}
