/**
 * In the place of a farm: a process that opens the signer for the keys of its argument (JSON), signs what each may, says
 * so, and waits to be looked at.
 */
import { type KeySetting, openSigner } from "../../src/signing/open.ts";
import type { Role } from "../../src/signing/roles.ts";
import type { SigningRequest } from "../../src/signing/signer.ts";
import { noteTexts } from "./notes.ts";

const { root, head } = noteTexts();
const REQUESTS: Readonly<Record<Role, SigningRequest>> = {
  root: { kind: "root", text: root },
  head: { kind: "head", text: head },
  builder: { kind: "statement", payload: '{"_type":"https://in-toto.io/Statement/v1"}' },
  module: { kind: "module", sha256: "00".repeat(32) },
};

const settings = JSON.parse(process.argv[2] ?? "[]") as KeySetting[];
await using signer = await openSigner(settings);
for (const { name, role } of settings) await signer.sign(name, REQUESTS[role]);
process.stdout.write("signed\n");
await new Promise((resolve) => process.stdin.once("end", resolve).resume());
