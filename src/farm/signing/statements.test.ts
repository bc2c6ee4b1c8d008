import { expect, test } from "vitest";
import {
  BUILDER,
  IDENTITY,
  keysOf,
  MODULES,
  makeBuild,
  makeSigner,
} from "../../../test/support/statements.ts";
import { FarmError } from "../../base/error.ts";
import { judgeBundle } from "../../provenance/judge.ts";
import { attest, openAttestor, ownBuilders } from "./statements.ts";

const signer = makeSigner();
const signing = keysOf(signer);

test("a farm states its builds, and believes itself", async () => {
  const farm = { signing, config: {} };
  const attestor = await openAttestor(farm);
  if (attestor === undefined) throw new Error("it has a key");

  const bundle = await attest(attestor, makeBuild(), MODULES);

  const build = { identity: IDENTITY, modules: MODULES, materials: makeBuild() };
  const builders = await ownBuilders(farm);
  expect(builders.map(({ id }) => id)).toEqual([`urn:kmodfarm:builder:${signer.key.fingerprint.slice(7)}`]);
  expect(judgeBundle(bundle, build, builders)).toEqual({ kind: "good" });
  expect(judgeBundle(bundle, build, [{ id: BUILDER, key: signer.key }]).kind).toBe("bad");
});

test("a farm may be called otherwise", async () => {
  const config = { builderId: "https://farm.example/builder" };

  expect((await ownBuilders({ signing, config }))[0]?.id).toBe(config.builderId);
});

test("where its key cannot be had, nobody is believed; any other fault is one", async () => {
  const failing = (code: "KEY_UNREADABLE" | "KEY_LOCKED" | "TOOL_MISSING") => ({
    config: {},
    signing: {
      ...signing,
      async keysFor(): Promise<never> {
        throw new FarmError(code, { detail: "thrown" });
      },
    },
  });

  expect(await ownBuilders(failing("KEY_UNREADABLE"))).toEqual([]);
  expect(await ownBuilders(failing("KEY_LOCKED"))).toEqual([]);
  await expect(ownBuilders(failing("TOOL_MISSING"))).rejects.toMatchObject({ code: "TOOL_MISSING" });
  await expect(openAttestor(failing("KEY_LOCKED"))).rejects.toMatchObject({ code: "KEY_LOCKED" });
});

test("a farm without a key states nothing", async () => {
  const none = { signing: { ...signing, keysFor: async () => new Map() }, config: {} };

  expect(await openAttestor(none)).toBeUndefined();
});
