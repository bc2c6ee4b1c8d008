/** The kinds of stores, and how one is opened. */
import { openFolderStore } from "./folder.ts";
import { openS3Store } from "./s3.ts";
import type { S3Place } from "./s3-bucket.ts";
import type { KeptBlobs, Store } from "./store.ts";

/** Where a registry lives: an absolute path, or a bucket. */
export type StorePlace = string | S3Place;

/** @param kept where this machine keeps what it saw of a store that is far away */
export function openStore(place: StorePlace, kept?: KeptBlobs): Promise<Store> {
  if (typeof place === "string") return openFolderStore(place);
  return openS3Store(place, kept === undefined ? {} : { kept });
}

/** Whether there is anything in a store. */
export async function hasFiles(store: Store): Promise<boolean> {
  for await (const _ of store.walk("")) return true;
  return false;
}
