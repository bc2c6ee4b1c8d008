/**
 * A thread of `audit`: reads some of a directory's modules.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { isErrno } from "../base/error.ts";
import { type AuditedFile, auditFiles, type KernelKeys, signersByRelease, unread } from "../check/audit.ts";

export interface AuditWork {
  readonly directory: string;
  readonly paths: readonly string[];
  readonly keys: KernelKeys;
}

/** So many files are in memory at once. */
const BATCH = 100;

export async function auditDirectory({ directory, paths, keys }: AuditWork): Promise<AuditedFile[]> {
  const signersOf = signersByRelease(keys);
  const audited: AuditedFile[] = [];
  for (let at = 0; at < paths.length; at += BATCH) {
    // Thousands of small files: a thread for each open, read and close would cost more than they do.
    const inputs = paths.slice(at, at + BATCH).flatMap((path) => {
      try {
        return [{ path, bytes: readFileSync(join(directory, path)) }];
      } catch (thrown) {
        // Its name may be no text, or it may be gone by now: the others are still of interest.
        if (!isErrno(thrown)) throw thrown;
        audited.push(unread(path, `it cannot be read (${thrown.code})`));
        return [];
      }
    });
    audited.push(...(await auditFiles(inputs, signersOf, directory)));
  }
  return audited;
}

if (parentPort !== null) parentPort.postMessage(await auditDirectory(workerData as AuditWork));
