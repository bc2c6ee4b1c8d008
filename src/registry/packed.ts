/** Documents as they lie among the blobs: large ones are compressed. What is small can be read by people. */
import { promisify } from "node:util";
import { constants, zstdCompress, zstdDecompress } from "node:zlib";
import type { RegistryReader } from "./reader.ts";
import { corruptStore } from "./stored.ts";
import { DOCUMENT_LIMIT_BYTES } from "./stores/store.ts";

const PLAIN_BYTES = 16 << 10;
/** No JSON begins so. */
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const PARAMS = { [constants.ZSTD_c_compressionLevel]: 9 };

const [compress, decompress] = [promisify(zstdCompress), promisify(zstdDecompress)];

export async function packed(text: string): Promise<Buffer> {
  const bytes = Buffer.from(text);
  return bytes.length <= PLAIN_BYTES ? bytes : compress(bytes, { params: PARAMS });
}

/** @throws FarmError STORE_CORRUPT for what cannot be unpacked, or would be larger than a document may be */
export async function unpacked(
  store: Pick<RegistryReader, "place">,
  path: string,
  bytes: Buffer,
  what: string,
  limitBytes = DOCUMENT_LIMIT_BYTES,
): Promise<Buffer> {
  if (!bytes.subarray(0, ZSTD.length).equals(ZSTD)) return bytes;
  try {
    return await decompress(bytes, { maxOutputLength: limitBytes });
  } catch (cause) {
    throw corruptStore(store, `${what} cannot be unpacked`, path, cause);
  }
}
