/**
 * A thread of `audit`: reads some of a directory's modules.
 */
import { join } from "node:path";
import { FarmError, toFarmError } from "../../base/error.ts";
import { answerOnce } from "../../base/thread.ts";
import {
  type AuditedFile,
  type AuditInput,
  auditFiles,
  type KernelKeys,
  trustedByRelease,
  unread,
} from "../../check/audit.ts";
import { FILE_LIMIT_BYTES, readLocalFile } from "./local-file.ts";

export interface AuditWork {
  readonly directory: string;
  readonly paths: readonly string[];
  readonly keys: KernelKeys;
}

/** So much is in memory at once, or one file. */
const BATCH_BYTES = 64 * 1024 * 1024;
const BATCH_FILES = 100;

export async function auditDirectory({ directory, paths, keys }: AuditWork): Promise<AuditedFile[]> {
  const trustedBy = trustedByRelease(keys);
  const audited: AuditedFile[] = [];
  let [batch, size]: [AuditInput[], number] = [[], 0];
  const auditBatch = async () => {
    audited.push(...(await auditFiles(batch, trustedBy, directory)));
    [batch, size] = [[], 0];
  };
  for (const path of paths) {
    const bytes = readable(join(directory, path));
    if (bytes instanceof FarmError) {
      audited.push(unread(path, bytes.message));
      continue;
    }
    batch.push({ path, bytes });
    size += bytes.length;
    if (size > BATCH_BYTES || batch.length === BATCH_FILES) await auditBatch();
  }
  await auditBatch();
  return audited;
}

/** A file's name may be no text, or it may be gone by now: the others are still of interest. */
function readable(file: string): Buffer | FarmError {
  try {
    return readLocalFile(file, FILE_LIMIT_BYTES);
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code !== "FILE_UNREADABLE") throw error;
    return error;
  }
}

await answerOnce(auditDirectory);
