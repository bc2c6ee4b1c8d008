import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { parseConfig } from "./index.ts";
import { storeOf, storePlaceOf } from "./store.ts";

beforeEach(() => {
  for (const name of ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_PROFILE"])
    vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe("the place of a store", () => {
  test("is a directory, or a bucket by its address", () => {
    expect(storePlaceOf("store", "/farm")).toBe("/farm/store");
    expect(storePlaceOf("s3://our-bucket/a/b/", "/farm")).toMatchObject({
      bucket: "our-bucket",
      prefix: "a/b",
      endpoint: undefined,
      region: undefined,
      pathStyle: false,
    });
    expect(storePlaceOf("s3://our-bucket", "/farm")).toMatchObject({ bucket: "our-bucket", prefix: "" });
  });

  test("is on a server that is not AWS by path, in a region that need not be named", () => {
    const url = "s3://farm/x";
    const expected = { region: "us-east-1", pathStyle: true };

    expect(storePlaceOf({ url, endpoint: "http://ceph.lan:7480" }, "/")).toMatchObject(expected);
    expect(
      storePlaceOf({ url, endpoint: "http://ceph.lan", region: "eu", pathStyle: false }, "/"),
    ).toMatchObject({
      region: "eu",
      pathStyle: false,
    });
    vi.stubEnv("AWS_ENDPOINT_URL_S3", "http://ceph.lan:7480");
    expect(storePlaceOf(url, "/")).toMatchObject(expected);
  });

  test("keeps the configured server where an option names the same bucket", () => {
    const configured = { url: "s3://farm/one", endpoint: "http://ceph.lan" };

    expect(storeOf("s3://farm/two", configured, "/", "/")).toMatchObject({
      prefix: "two",
      endpoint: "http://ceph.lan",
    });
    expect(storeOf("s3://other/two", configured, "/", "/")).toMatchObject({ endpoint: undefined });
    expect(storeOf("mine", configured, "/", "/here")).toBe("/here/mine");
    expect(storeOf(undefined, configured, "/", "/here")).toMatchObject({ prefix: "one" });
  });

  test.each([
    "s3://",
    "s3://key:secret@bucket/x",
    "s3://b",
    "s3://bucket//x",
    "s3://bucket/../x",
    "s3://bucket/a?b=c\0",
  ])("is no address without a bucket, and is not repeated: %j", (url) => {
    const refused = expect.objectContaining({
      code: "CONFIG_INVALID",
      message: "the store's address is not one of a bucket",
    });

    expect(() => storePlaceOf(url, "/")).toThrow(refused);
    expect(() => storePlaceOf({ url }, "/")).toThrow(refused);
  });

  test.each([
    ["endpoint: ftp://x", /endpoint/],
    ["endpoint: http://key:secret@ceph.lan", /endpoint: credentials/],
    ["serverSideEncryption: rot13", /serverSideEncryption/],
    ["reigon: x", /region/],
  ])("says which setting of it is wrong: %s", (setting, words) => {
    expect(() => parseConfig(`store: { url: "s3://farm/x", ${setting} }`, "kmodfarm.yaml")).toThrow(words);
  });
});
