/**
 * Controls that people who buy or approve software ask about, and what of a registry each rests on. Names and numbers are
 * those of NIST CSF 2.0 (CSWP 29), OWASP Non-Human Identities Top 10 (2025), SLSA 1.2 (Build Track) and NIST AI RMF 1.0
 * (AI 100-1), of which only traceability is asked here.
 */

export const FRAMEWORKS = ["NIST CSF 2.0", "OWASP NHI Top 10", "SLSA Build Track", "NIST AI RMF"] as const;
type Framework = (typeof FRAMEWORKS)[number];

/** What can be looked for in a registry. */
export type EvidenceName =
  | "root"
  | "rootThreshold"
  | "keyRoles"
  | "keyExpiry"
  | "rotation"
  | "head"
  | "generation"
  | "index"
  | "manifest"
  | "provenance"
  | "inputs"
  | "sbom"
  | "rebuilds"
  | "moduleSignatures"
  | "policy"
  | "decisions"
  | "withdrawals"
  | "floors"
  | "loadTests"
  | "log"
  | "isolation"
  | "secrets"
  | "humanUse";

export interface Control {
  readonly framework: Framework;
  readonly id: string;
  /** What it asks, in short. */
  readonly asks: string;
  readonly rests: readonly EvidenceName[];
}

const csf = (id: string, asks: string, ...rests: readonly EvidenceName[]): Control => ({
  ...{ framework: "NIST CSF 2.0", id, asks, rests },
});
const nhi = (id: string, asks: string, ...rests: readonly EvidenceName[]): Control => ({
  ...{ framework: "OWASP NHI Top 10", id, asks, rests },
});
const slsa = (id: string, asks: string, ...rests: readonly EvidenceName[]): Control => ({
  ...{ framework: "SLSA Build Track", id, asks, rests },
});
const aiRmf = (id: string, asks: string, ...rests: readonly EvidenceName[]): Control => ({
  ...{ framework: "NIST AI RMF", id, asks, rests },
});

export const CONTROLS: readonly Control[] = [
  csf("GV.PO-01", "a policy is established, communicated and enforced", "policy"),
  csf("GV.SC-07", "risks of suppliers and their products are recorded and monitored", "provenance", "sbom"),
  csf("ID.AM-02", "inventories of software are maintained", "index", "sbom"),
  csf("ID.AM-08", "software is managed throughout its life cycle", "decisions", "withdrawals"),
  csf(
    "ID.RA-09",
    "authenticity and integrity of software are assessed before it is used",
    "head",
    "rebuilds",
  ),
  csf("PR.AA-03", "users, services and hardware are authenticated", "root", "keyRoles"),
  csf("PR.DS-01", "data at rest is protected", "generation"),
  csf("PR.DS-02", "data in transit is protected", "head"),
  csf("PR.PS-01", "configuration management is practised", "generation", "inputs"),
  csf("PR.PS-02", "software is maintained, replaced and removed as risk demands", "withdrawals", "floors"),
  csf("PR.PS-04", "log records are generated and available", "decisions", "log"),
  csf("PR.PS-05", "unauthorized software is kept from being installed and executed", "moduleSignatures"),
  csf("PR.PS-06", "secure development practices are integrated and monitored", "manifest", "loadTests"),
  csf("RC.RP-03", "integrity of backups is verified before they are used", "generation", "root"),

  nhi("NHI1", "improper offboarding: keys that are no longer used are taken away", "rotation"),
  nhi("NHI2", "secret leakage: no secret is where it can be read", "secrets"),
  nhi(
    "NHI3",
    "vulnerable third-party identities: what others sign counts only as far as it is named",
    "provenance",
  ),
  nhi("NHI4", "insecure authentication: whoever speaks proves who it is", "root", "head"),
  nhi("NHI5", "overprivileged identities: each key signs only what it is for", "keyRoles"),
  nhi("NHI6", "insecure deployment configurations: one alone cannot change what is trusted", "rootThreshold"),
  nhi("NHI7", "long-lived secrets: keys and what they signed expire", "keyExpiry"),
  nhi("NHI8", "environment isolation: builds cannot reach keys", "isolation"),
  nhi("NHI9", "reuse: no key serves two roles", "keyRoles"),
  nhi("NHI10", "human use: people do not act with a service's key", "humanUse"),

  slsa("Build L1: provenance exists", "how each artifact was built is stated", "provenance"),
  slsa("Build L1: distributed", "consumers can have the statement", "provenance", "index"),
  slsa(
    "Build L2: authentic",
    "the statement is signed, and its signer can be verified",
    "provenance",
    "root",
  ),
  slsa(
    "Build L2: hosted",
    "builds ran on dedicated infrastructure, not on somebody's own machine",
    "isolation",
  ),
  slsa("Build L3: unforgeable", "no build step can reach the key that signs statements", "isolation"),
  slsa("Build L3: isolated", "builds cannot influence each other", "isolation"),
  slsa("Dependencies: complete", "all inputs are named by digest", "inputs"),
  slsa("Verified: rebuilt", "others got the same bytes", "rebuilds"),

  aiRmf("GOVERN 1.4", "outcomes of risk management are documented and transparent", "policy", "decisions"),
  aiRmf("GOVERN 1.6", "there is an inventory", "index"),
  aiRmf("MAP 4.1", "third-party software and its risks are mapped", "sbom", "inputs"),
  aiRmf("MEASURE 2.8", "transparency and accountability: who decided what, when and why", "decisions", "log"),
  aiRmf("MANAGE 4.3", "incidents and errors are communicated, tracked and recovered from", "withdrawals"),
];
