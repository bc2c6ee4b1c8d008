/**
 * What is to be known of the farm's keys: which are open to others, which have no password, and whether one stolen
 * machine would be all of them. Nothing of a key is read but the line that says whether it is encrypted.
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { isErrno } from "../../base/error.ts";
import { exists } from "../../base/scratch.ts";
import type { KeySetting } from "../../signing/open.ts";
import type { FarmConfig } from "../config/index.ts";
import type { Finding } from "../finding.ts";
import { farmKeys, hasOwnKeys, OWN_ROLES } from "./keys.ts";

/** Whether there is a key that could be stolen here. */
function isKept(look: Look): boolean {
  return look !== "absent" && look !== "keyless" && look !== "no roots";
}

/** What can be seen of a key from outside. */
type Look =
  | "token"
  | "keyless"
  | "no roots"
  | "absent"
  | "plain"
  | "encrypted"
  | "open to others"
  | "unreadable";

const PLAIN = "-----BEGIN PRIVATE KEY-----";
const OTHERS = 0o077;

export async function keyFindings(config: Pick<FarmConfig, "keys" | "keyDirectory">): Promise<Finding[]> {
  const settings = farmKeys(config);
  const looks = await Promise.all(settings.map(async (key) => ({ key, look: await lookAt(key) })));
  const isFresh = !hasOwnKeys(config.keys);
  const here = new Set(looks.flatMap(({ key, look }) => (isKept(look) ? [key.role] : [])));
  return [
    ...looks.map(({ key, look }) => findingOf(key, look, isFresh)),
    ...(OWN_ROLES.every((role) => here.has(role)) ? [ALL_HERE] : []),
  ];
}

const ALL_HERE: Finding = {
  subject: "keys",
  state: "note",
  fact: "the keys of all roles are on this machine: whoever takes it over can replace them all",
  next: "Keep the root key elsewhere: docs/trust.md says how.",
};

function findingOf({ name, role, password, place }: KeySetting, look: Look, isFresh: boolean): Finding {
  const subject = `key ${name} (${role})`;
  const where = whereIs(place);
  switch (look) {
    case "keyless":
      return { subject, state: "good", fact: `no key is kept: certificates name ${where}` };
    case "token":
      return { subject, state: "good", fact: `in a token: ${where}` };
    case "no roots":
      return {
        ...{
          subject,
          state: "problem",
          fact: `certificates for ${where} have no roots: \`roots\` cannot be read`,
        },
        next: "`gh attestation trusted-root` or `cosign trusted-root create` writes them.",
      };
    case "absent":
      return isFresh
        ? { subject, state: "good", fact: `${where} (will be created)` }
        : {
            ...{ subject, state: "problem", fact: `${where} does not exist` },
            next: `\`kmodfarm keys create ${name} --for ${role}\` makes it.`,
          };
    case "unreadable":
      return { subject, state: "problem", fact: `${where} cannot be read`, next: "Correct its permissions." };
    case "open to others":
      return { subject, state: "problem", fact: `others can read ${where}`, next: `chmod 600 ${where}` };
    case "plain":
      return {
        ...{
          subject,
          state: "note",
          fact: `${where} has no password: whoever can read the file has the key`,
        },
        next: "`openssl pkcs8 -topk8 -scrypt` encrypts it; name the password's file in `keys`.",
      };
    case "encrypted":
      return password.kind === "given"
        ? {
            ...{
              subject,
              state: "note",
              fact: "its password is in the environment, which this user's processes can read",
            },
            next: "Use `passwordFile`: only the signer reads it.",
          }
        : { subject, state: "good", fact: `${where}, encrypted` };
  }
}

function whereIs(place: KeySetting["place"]): string {
  switch (place.kind) {
    case "file":
      return place.path;
    case "pkcs11":
      return place.uri;
    case "keyless":
      return place.subject;
  }
}

async function lookAt({ place }: KeySetting): Promise<Look> {
  if (place.kind === "keyless") return (await exists(place.roots)) ? "keyless" : "no roots";
  if (place.kind !== "file") return "token";
  try {
    await using file = await open(place.path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (((await file.stat()).mode & OTHERS) !== 0) return "open to others";
    const { buffer } = await file.read({ buffer: Buffer.alloc(PLAIN.length), position: 0 });
    return buffer.toString("latin1") === PLAIN ? "plain" : "encrypted";
  } catch (thrown) {
    if (!isErrno(thrown)) throw thrown;
    return thrown.code === "ENOENT" ? "absent" : "unreadable";
  }
}
