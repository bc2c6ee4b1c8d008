/** Registries that a person names: a directory, a bucket, or an address of the web; to read. */
import { Http } from "../base/http.ts";
import { storePlaceOf } from "../farm/config/store.ts";
import { readNote } from "../provenance/signed-note.ts";
import { firstTrust, ROOT_LIMIT_BYTES, type Trust } from "../provenance/trust.ts";
import { openStore } from "../registry/stores/index.ts";
import { webReader } from "../registry/stores/web.ts";
import type { VerifiedPlace } from "../registry/verify.ts";
import { readNamedFile } from "./named-file.ts";

export async function withRegistry<T>(
  place: string,
  work: (registry: VerifiedPlace) => Promise<T>,
): Promise<T> {
  if (/^https?:\/\//i.test(place)) {
    const http = new Http();
    try {
      return await work(webReader(place, http));
    } finally {
      await http.close();
    }
  }
  const store = await openStore(storePlaceOf(place, process.cwd()));
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** @throws FarmError FILE_UNREADABLE, NOTE_MALFORMED, METADATA_UNSIGNED */
export async function readTrustedRoot(file: string): Promise<Trust> {
  return firstTrust(readNote(await readNamedFile(file, ROOT_LIMIT_BYTES), ROOT_LIMIT_BYTES, file), file);
}
