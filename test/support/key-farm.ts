/**
 * In the place of a farm: a process that opens the signer for the keys of its argument (JSON), signs what each may, says
 * so, and waits to be looked at.
 */
import { type KeySetting, openSigner } from "../../src/signing/open.ts";
import { REQUESTS } from "./signing-requests.ts";

const settings = JSON.parse(process.argv[2] ?? "[]") as KeySetting[];
await using signer = await openSigner(settings);
for (const { name, role } of settings) await signer.sign(name, REQUESTS[role].request);
process.stdout.write("signed\n");
await new Promise((resolve) => process.stdin.once("end", resolve).resume());
