/** Proofs in files of their own; attacks bear the ids of docs/security.md. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  flippedBytes,
  makeTestKey,
  ORIGIN,
  signed,
  trustOf,
  trustWithLog,
} from "../../test/support/notes.ts";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { type LogProof, readLogProof, verifyLogProof, writeLogProof } from "./log-proof.ts";
import { entryHash, type LogHash, nodeHash, proveInclusion, rootAt } from "./trees/rfc6962.ts";

const LOG = makeTestKey("ed25519");
const TRUST = trustWithLog(trustOf([makeTestKey()], [makeTestKey()]), [LOG]);
const ENTRIES = Array.from({ length: 7 }, (_, at) => Buffer.from(`entry ${at}\nof a log\n`));
const nodeAt = (level: number, index: number): LogHash =>
  level === 0
    ? entryHash(ENTRIES[index] as Buffer)
    : nodeHash(nodeAt(level - 1, index * 2), nodeAt(level - 1, index * 2 + 1));
const checkpoint = signed(
  writeCheckpoint({ origin: ORIGIN, size: ENTRIES.length, root: await rootAt(ENTRIES.length, nodeAt) }),
  ORIGIN,
  [LOG],
);

async function proofOf(index: number): Promise<LogProof> {
  const hashes = await proveInclusion(index, ENTRIES.length, nodeAt);
  return { entry: ENTRIES[index] as Buffer, index, hashes, checkpoint };
}
const place = sharedDirectory();

describe("a proof in a file", () => {
  test.each([...ENTRIES.keys()])(
    "of entry %i is read, verified, and read by a script of dash",
    async (index) => {
      const text = writeLogProof(await proofOf(index));
      const read = readLogProof(Buffer.from(text), "a proof");

      expect(writeLogProof(read)).toBe(text);
      expect(verifyLogProof(TRUST, read, "a proof").size).toBe(ENTRIES.length);
      const [file, key] = [join(place, `${index}.tlog-proof`), join(place, "log.pem")];
      writeFileSync(file, text);
      writeFileSync(key, LOG.publicKey.key.export({ format: "pem", type: "spki" }));
      const script = join(import.meta.dirname, "../../test/support/tlog-check.sh");
      expect(execFileSync("dash", [script, file, key, ORIGIN]).toString()).toBe(ENTRIES[index]?.toString());
      writeFileSync(file, text.replace(/\nindex \d/, `\nindex ${(index + 1) % 7}`));
      expect(() => execFileSync("dash", [script, file, key, ORIGIN], { stdio: "ignore" })).toThrow();
    },
  );

  test("B13, C16 of another entry, place or log proves nothing", async () => {
    const good = await proofOf(2);
    const wrong: LogProof[] = [
      { ...good, entry: ENTRIES[3] as Buffer },
      { ...good, index: 3 },
      { ...good, index: 7 },
      { ...good, hashes: good.hashes.slice(1) },
      { ...good, hashes: [...good.hashes, ...good.hashes.slice(0, 1)] },
      { ...good, hashes: good.hashes.toReversed() },
    ];

    for (const one of wrong)
      expect(() => verifyLogProof(TRUST, one, "a proof")).toThrow(
        expect.objectContaining({ code: "LOG_INCONSISTENT" }),
      );
    const forged = { ...good, checkpoint: signed(checkpoint.text, ORIGIN, [makeTestKey("ed25519")]) };
    expect(() => verifyLogProof(TRUST, forged, "a proof")).toThrow(
      expect.objectContaining({ code: "METADATA_UNSIGNED" }),
    );
  });

  test("that was changed or cut anywhere proves nothing, and gives a typed error", async () => {
    const text = Buffer.from(writeLogProof(await proofOf(2)));
    const cuts = Array.from({ length: text.length }, (_, length) => text.subarray(0, length));
    for (const bytes of [...cuts, ...[...flippedBytes(text)].map(({ changed }) => changed)])
      expect(() => verifyLogProof(TRUST, readLogProof(bytes, "a proof"), "a proof")).toThrow(
        expect.objectContaining({ blame: "integrity" }),
      );
  });
});
