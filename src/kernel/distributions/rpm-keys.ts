/**
 * Who signs the packages of distributions with rpm: fingerprints of primary keys, and where the keys are published.
 * Fingerprints are facts of rpm-software-management/distribution-gpg-keys at 65c3eae56 (2026-08-11); Rocky Linux 8's is
 * the one on Rocky's own page of keys, and CentOS Stream's keys have one fingerprint under two self-signatures.
 */

export interface ReleaseKeys {
  readonly fingerprints: readonly string[];
  /** The keys themselves; believed by their fingerprints alone, so any place will do. */
  readonly urls: readonly string[];
  /** Whether repomd.xml has a signature beside it. */
  readonly signsMetadata: boolean;
}

const FEDORA = "https://fedoraproject.org/fedora.gpg";
const ORACLE = "https://yum.oracle.com/RPM-GPG-KEY-oracle-ol";
const COLLECTED = "https://raw.githubusercontent.com/rpm-software-management/distribution-gpg-keys/main/keys";

/** By distribution and major version; a release that is missing here has no key that is known. */
const KEYS: ReadonlyMap<string, ReleaseKeys> = new Map([
  signing(
    "almalinux8",
    "https://repo.almalinux.org/almalinux/RPM-GPG-KEY-AlmaLinux-8",
    "5E9B8F5617B5066CE92057C3488FCF7C3ABB34F8",
    "BC5EDDCADF502C077F1582882AE81E8ACED7258B",
  ),
  signing(
    "almalinux9",
    "https://repo.almalinux.org/almalinux/RPM-GPG-KEY-AlmaLinux-9",
    "BF18AC2876178908D6E71267D36CB86CB86B3716",
  ),
  signing(
    "almalinux10",
    "https://repo.almalinux.org/almalinux/RPM-GPG-KEY-AlmaLinux-10",
    "EE6DB7B98F5BF5EDD9DA0DE5DEE5C11CC2A1E572",
  ),
  signing(
    "rocky8",
    "https://dl.rockylinux.org/pub/rocky/RPM-GPG-KEY-Rocky-8",
    "7051C470A929F454CEBE37B715AF5DAC6D745A60",
  ),
  signingAll(
    "rocky9",
    "https://dl.rockylinux.org/pub/rocky/RPM-GPG-KEY-Rocky-9",
    "21CB256AE16FC54C6E652949702D426D350D275D",
  ),
  signingAll(
    "rocky10",
    "https://dl.rockylinux.org/pub/rocky/RPM-GPG-KEY-Rocky-10",
    "FC226859C0860BF0DDB95B085B106C736FEDFC85",
  ),
  signing(
    "centos7",
    "https://www.centos.org/keys/RPM-GPG-KEY-CentOS-7",
    "6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5",
  ),
  ...["centos8", "centos9", "centos10"].map((release) =>
    signing(
      release,
      `https://www.centos.org/keys/RPM-GPG-KEY-CentOS-Official${release === "centos8" ? "" : "-SHA256"}`,
      "99DB70FAE1D7CE227FB6488205B555B38483C65D",
    ),
  ),
  signing("fedora43", FEDORA, "C6E7F081CF80E13146676E88829B606631645531"),
  signing("fedora44", FEDORA, "36F612DCF27F7D1A48A835E4DBFCF71C6D9F90A6"),
  signing("fedora45", FEDORA, "4F50A6114CD5C6976A7F1179655A4B02F577861E"),
  signing("fedora46", FEDORA, "D924B10D3E810DABDD8B56B596E7E91491211FCE"),
  signing("fedora47", FEDORA, "B2E766FA50CA6FA2D5ED06FC09D879E09488FB64"),
  signing(
    "amzn2",
    "https://cdn.amazonlinux.com/_assets/11CF1F95C87F5B1A.asc",
    "99E617FE5DB527C0D8BD5F8E11CF1F95C87F5B1A",
  ),
  signing(
    "amzn2023",
    `${COLLECTED}/amazon-linux/RPM-GPG-KEY-amazon-linux-2023`,
    "B21C50FA44A99720EAA72F7FE951904AD832C631",
  ),
  signing("ol7", `${ORACLE}7`, "42144123FECFC55B9086313D72F97B74EC551F03"),
  signing("ol8", `${ORACLE}8`, "76FD3DB13AB67410B89DB10E82562EA9AD986DA3"),
  ...["9", "10"].map((major) =>
    signing(
      `ol${major}`,
      `${ORACLE}${major}`,
      "3E6D826D3FBAB389C2F38E34BC4D06A08D8B756F",
      "982231759C7467065D0CE9B2A7DD07088B4EFBE6",
    ),
  ),
  ...["8", "9", "10"].map((major) =>
    signing(
      `rhel${major}`,
      "https://access.redhat.com/security/data/fd431d51.txt",
      "567E347AD0044ADE55BA8A5F199E2F91FD431D51",
    ),
  ),
]);

/** Packages are signed, and nothing else that is known. */
function signing(release: string, url: string, ...fingerprints: string[]): [string, ReleaseKeys] {
  return [release, { urls: [url], fingerprints, signsMetadata: false }];
}

/** Packages and repomd.xml are signed. */
function signingAll(release: string, url: string, ...fingerprints: string[]): [string, ReleaseKeys] {
  return [release, { urls: [url], fingerprints, signsMetadata: true }];
}

/** The keys of a distribution's release, of which its major version decides. */
export function releaseKeys(id: string, version: string): ReleaseKeys | undefined {
  return KEYS.get(`${id}${version.split(".")[0]}`);
}
