/** The kinds of stores, and how one is opened. */
import { openFolderStore } from "./folder.ts";
import { openS3Store } from "./s3.ts";
import type { S3Place } from "./s3-bucket.ts";
import type { Store } from "./store.ts";

/** Where a registry lives: an absolute path, or a bucket. */
export type StorePlace = string | S3Place;

export function openStore(place: StorePlace): Promise<Store> {
  return typeof place === "string" ? openFolderStore(place) : openS3Store(place);
}

/** Whether there is anything in a store. */
export async function hasFiles(store: Store): Promise<boolean> {
  for await (const _ of store.walk("")) return true;
  return false;
}
