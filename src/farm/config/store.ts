/** What the configuration and the command line say of the store: a directory, or a bucket by its address. */
import { resolve } from "node:path";
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import type { StorePlace } from "../../registry/stores/index.ts";
import { isStorePath } from "../../registry/stores/path.ts";
import type { S3Place } from "../../registry/stores/s3-bucket.ts";

export const StoreConfig = z.union([
  z.string(),
  z.strictObject({
    url: z
      .string()
      .startsWith("s3://")
      .describe("The bucket and what all keys in it begin with: `s3://BUCKET/PREFIX`."),
    endpoint: z
      .url({ protocol: /^https?$/ })
      .refine((url) => isPlain(url), { error: "credentials, queries and fragments have no place in it" })
      .optional()
      .describe(
        "Address of a server that is not AWS. Default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or AWS.",
      ),
    region: z
      .string()
      .regex(/^[a-z0-9-]{1,63}$/)
      .optional()
      .describe("Default: AWS_REGION, or the profile's; `us-east-1` where there is an endpoint."),
    pathStyle: z
      .boolean()
      .optional()
      .describe(
        "Whether the bucket's name is in the path instead of the host's name. Default: where there is an endpoint.",
      ),
    serverSideEncryption: z
      .enum(["AES256", "aws:kms", "aws:kms:dsse"])
      .optional()
      .describe("What the server is asked to encrypt with. Default: the bucket's own setting."),
  }),
]);
export type StoreConfig = z.output<typeof StoreConfig>;

function isPlain(url: string): boolean {
  const { username, password, search, hash } = new URL(url);
  return `${username}${password}${search}${hash}` === "";
}

/** @throws FarmError CONFIG_INVALID */
export function storePlaceOf(store: StoreConfig, base: string): StorePlace {
  if (typeof store !== "string") return bucketOf(store);
  const [kind] = /^[a-z][a-z0-9+.-]*(?=:\/\/)/i.exec(store) ?? [];
  if (/^s3:/i.test(store) && kind === undefined)
    throw new FarmError("CONFIG_INVALID", {
      detail: `the store ${store} is no directory, and no bucket`,
      hint: "Write s3://BUCKET/PREFIX for a bucket, and ./ before a directory of such a name.",
    });
  if (kind === undefined) return resolve(base, store);
  if (kind === "s3") return bucketOf({ url: store });
  // What names another kind must not become a folder of that name.
  throw new FarmError("CONFIG_INVALID", {
    detail: `the store ${store} is of the kind ${kind}, which this version does not have`,
    hint: "Name a directory, or a bucket as s3://BUCKET/PREFIX.",
  });
}

/** An option that names the configured bucket, whatever the prefix, is about the same server. */
export function storeOf(
  option: string | undefined,
  configured: StoreConfig,
  base: string,
  directory: string,
): StorePlace {
  if (option === undefined) return storePlaceOf(configured, base);
  if (typeof configured === "string" || !option.startsWith("s3://")) return storePlaceOf(option, directory);
  const isSame = bucketOf({ url: option }).bucket === bucketOf(configured).bucket;
  return storePlaceOf(isSame ? { ...configured, url: option } : option, directory);
}

function bucketOf({ url, endpoint, region, ...rest }: Exclude<StoreConfig, string>): S3Place {
  const [, bucket = "", path = ""] = /^s3:\/\/([A-Za-z0-9][A-Za-z0-9._-]{1,62})(?:\/(.*))?$/s.exec(url) ?? [];
  const prefix = path.replace(/\/+$/, "");
  if (bucket === "" || (prefix !== "" && !isStorePath(prefix)))
    // What stands there may be a key and its secret.
    throw new FarmError("CONFIG_INVALID", {
      detail: "the store's address is not one of a bucket",
      hint: "Write s3://BUCKET or s3://BUCKET/PREFIX; credentials come from the environment, a profile or a role.",
    });
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE } = process.env;
  const isElsewhere = (endpoint ?? AWS_ENDPOINT_URL_S3 ?? AWS_ENDPOINT_URL) !== undefined;
  const isOpen = region === undefined && AWS_REGION === undefined && AWS_PROFILE === undefined;
  return {
    ...rest,
    bucket,
    prefix,
    endpoint,
    region: isOpen && isElsewhere ? "us-east-1" : region,
    pathStyle: rest.pathStyle ?? isElsewhere,
  };
}
