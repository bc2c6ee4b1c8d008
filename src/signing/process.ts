/**
 * The program of a signer's process: one key, one role. It opens the key, says which one it is, and answers requests, a
 * line of JSON each, until its input ends. It runs shut in (box.ts); nothing that it says holds the key or its password.
 */
import { createInterface } from "node:readline";
import { FarmError, toFarmError } from "../base/error.ts";
import { publicKeyOf } from "../provenance/public-key.ts";
import { familyOf } from "./keys/index.ts";
import type { SigningKey } from "./keys/key.ts";
import { readPassword } from "./password.ts";
import { readRequest, refused } from "./readers.ts";
import { ROLES } from "./roles.ts";
import type { SigningRequest } from "./signer.ts";
import type { Answer, Greeting, Start } from "./wire.ts";

const PASSWORD = 3;

const start = JSON.parse(process.argv[2] ?? "") as Start;
const key = await answered(() => openKey(start));
say(
  key instanceof FarmError
    ? faultOf(key)
    : ({ kind: "ready", spki: Buffer.from(key.publicKey.spki).toString("base64") } satisfies Greeting),
);
if (!(key instanceof FarmError))
  for await (const line of createInterface({ input: process.stdin })) {
    const signature = await answered(() => signLine(line, key));
    say(
      signature instanceof FarmError
        ? faultOf(signature)
        : { kind: "signed", signature: Buffer.from(signature).toString("base64") },
    );
  }

async function openKey({ name, role, place }: Start): Promise<SigningKey> {
  const what = `the key ${name}`;
  const opened = await familyOf(place).open(
    place,
    () => readPassword(PASSWORD, `Password of ${what} (${role}): `),
    what,
  );
  const { kinds } = ROLES[role];
  const { kind } = publicKeyOf(opened.publicKey.key, what);
  if (kinds.includes(kind)) return opened;
  throw new FarmError("KEY_UNREADABLE", {
    about: what,
    detail: `it is of the kind ${kind}; for ${role} it must be ${kinds.join(" or ")}`,
    hint: `\`kmodfarm keys create NAME --for ${role}\` makes one.`,
  });
}

async function signLine(line: string, opened: SigningKey): Promise<Uint8Array> {
  const request = JSON.parse(line) as SigningRequest;
  const { signs } = ROLES[start.role];
  if (!signs.includes(request.kind))
    throw refused(`the key ${start.name}`, `is for ${start.role}: it signs no ${request.kind}`);
  if (request.kind === "subject" && start.place.kind !== "keyless")
    throw refused(`the key ${start.name}`, "is not certified: it signs no subject");
  const bytes = readRequest(request);
  return request.kind === "module" ? opened.signDigest(bytes) : opened.sign(bytes);
}

/** The error as a value. */
async function answered<T>(work: () => Promise<T>): Promise<T | FarmError> {
  try {
    return await work();
  } catch (thrown) {
    return toFarmError(thrown);
  }
}

function faultOf({ code, message, hint }: FarmError): Extract<Answer, { readonly kind: "fault" }> {
  return { kind: "fault", code, message, hint };
}

function say(answer: Answer | Greeting): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
