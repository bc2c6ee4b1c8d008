/**
 * Whether what is signed is signed by a key that counts: the kernel's own, built into its boot image, as nodes know it,
 * or one that the policy names.
 */
import { splitSignature } from "../../formats/module-signature.ts";
import type { KernelRecord } from "../../inputs/kernel-record.ts";
import type { OpenedModule } from "../opened-modules.ts";
import { type Signer, verifySignature } from "../signature.ts";
import { type Reason, reason, type Verdict, verdict, withReasons } from "../verdict.ts";
import { type Check, type CountingKeys, modulesOf } from "./check.ts";

const CODES = [
  "merkle",
  "otherRoot",
  "unknownKey",
  "otherDigest",
  "wrongSignature",
  "unusableKey",
  "keysUnknown",
  "unsigned",
  "signed",
  "proven",
] as const;
type Because = Reason<(typeof CODES)[number]>;

export const signature = {
  name: "signature",
  codes: CODES,
  question: "Are they signed with a trusted key?",
  isDefault: false,
  isOfFiles: true,
  isKeyed: true,
  judge(subject) {
    const { keys, kernel } = subject;
    const modules = modulesOf(subject);
    return modules && keys && checkSignatures(modules, keys, kernel);
  },
} as const satisfies Check;

/**
 * The check of a set: each module signed by one of some keys. An unsigned one proves nothing and breaks nothing, unless
 * its kernel takes no others.
 */
function checkSignatures(
  modules: readonly OpenedModule[],
  { signers, own, root, gap }: CountingKeys,
  { config }: Pick<KernelRecord, "config">,
): Verdict {
  const [faults, good, gaps, bare] = [[], [], [], []] as [Because[], Because[], Because[], string[]];
  for (const { file, bytes } of modules) {
    const found = verifySignature(splitSignature(bytes, file), [...signers, ...own], root);
    // Who has not seen all keys cannot call one unknown.
    if (found.kind === "bad")
      (gap !== undefined && found.code === "unknownKey" ? gaps : faults).push(
        reason(found.code, `${file}: ${found.fact}`),
      );
    else if (found.kind === "good")
      good.push(reason("signed", `${file} is signed with the key of ${subjectOf(found.signer)}`));
    else if (found.kind === "proven")
      good.push(reason("proven", `${file} has a Merkle proof that leads to the root in the kernel`));
    else if (found.kind === "unjudged") gaps.push(reason("merkle", `${file}: ${found.fact}`));
    else bare.push(file);
  }
  if (faults.length > 0) return withReasons("signature", "fail", faults);
  if (gaps.length > 0)
    return withReasons("signature", "unknown", [
      ...gaps,
      ...(gap === undefined ? [] : [reason("keysUnknown", gap)]),
    ]);
  if (good.length === modules.length) return withReasons("signature", "pass", good);
  const isForced = config?.get("MODULE_SIG_FORCE") === "y";
  const unsigned = `${bare.join(", ")}: unsigned`;
  return verdict(
    "signature",
    good.length > 0 ? "fail" : "notApplicable",
    reason(
      "unsigned",
      isForced
        ? `${unsigned}, but this kernel loads only signed modules: sign them before loading them`
        : unsigned,
    ),
  );
}

function subjectOf({ certificate, serial }: Signer): string {
  return `${certificate.subject.replaceAll("\n", ", ")} (serial ${serial})`;
}
