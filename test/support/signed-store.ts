/** Stores whose heads are signed, and what a node reads there. */
import type { Digest } from "../../src/base/json.ts";
import type { Farm } from "../../src/farm/open.ts";
import { acceptHead, HEAD_LIMIT_BYTES, HEAD_PATH, type IndexRoot } from "../../src/provenance/head.ts";
import {
  answerFrom,
  type FoundAnswer,
  keyOf,
  leafPrefix,
  NODE_LIMIT_BYTES,
  type NodeQuestion,
  readLeaf,
  readNode,
  wayTo,
} from "../../src/provenance/node-index.ts";
import { readNote, writeNote } from "../../src/provenance/signed-note.ts";
import { rootPath, type Trust, writeTrust } from "../../src/provenance/trust.ts";
import { readBlob } from "../../src/registry/blobs.ts";
import { publish } from "../../src/registry/commit.ts";
import type { Published } from "../../src/registry/documents.ts";
import { readTrusts } from "../../src/registry/metadata.ts";
import type { RegistryReader } from "../../src/registry/reader.ts";
import type { Store } from "../../src/registry/stores/store.ts";
import type { HeadMaker } from "../../src/registry/vouched.ts";
import type { Role } from "../../src/signing/roles.ts";
import { makeTestKey, signature, signed, type TestKey, trustOf } from "./notes.ts";

export const ROOT_KEY = makeTestKey();
export const HEAD_KEY = makeTestKey();
export const LOG_KEY = makeTestKey("ed25519");

/** Signs with some keys, at a time that a test sets. */
export function headMaker(clock: { now: Date }, keys: readonly TestKey[] = [HEAD_KEY]): HeadMaker {
  const sign = async (text: string) =>
    keys.map((key) => ({ key: key.publicKey, signature: signature(text, key) }));
  return {
    now: () => clock.now,
    keys: async () => keys.map(({ publicKey }) => publicKey),
    isChosen: true,
    ...{ sign, vouch: sign },
    signCheckpoint: async (text) => [{ key: LOG_KEY.publicKey, signature: signature(text, LOG_KEY) }],
  };
}

/** Puts a root into a store, signed by its own keys and by others. */
export async function putRoot(
  store: Store,
  trust: Trust,
  by: readonly TestKey[] = [ROOT_KEY],
): Promise<void> {
  await store.write(rootPath(trust.version), writeNote(signed(writeTrust(trust), trust.origin, by)));
}

export function firstRoot(): Trust {
  return trustOf([ROOT_KEY], [HEAD_KEY]);
}

/** Publishes a state upon whatever there is, with a head. */
export async function publishSigned(
  store: Store,
  state: Published,
  clock: { now: Date },
  maker = headMaker(clock),
) {
  const author = { who: "somebody", what: "run", now: () => clock.now, head: maker };
  // History only grows, whatever a test says beside it.
  const change = ({ history }: Published) => ({
    state: { ...state, history: state.history.length === 0 ? history : state.history },
    result: undefined,
  });
  const published = await publish(store, change, author);
  return published.state;
}

/** What a node finds that trusts a registry's first root. */
export async function askRegistry(
  reader: RegistryReader,
  question: NodeQuestion,
  now: Date,
): Promise<FoundAnswer | { readonly kind: "noIndex" }> {
  const trust = (await readTrusts(reader)).at(-1) as Trust;
  const bytes = (await reader.read(HEAD_PATH, HEAD_LIMIT_BYTES)) ?? Buffer.alloc(0);
  const head = acceptHead(trust, readNote(bytes, HEAD_LIMIT_BYTES, "head"), undefined, now, "head");
  const root = head.indices.find(
    ({ driver, machine }) => driver === question.driver && machine === question.machine,
  );
  return root === undefined ? { kind: "noIndex" } : askIndex(reader, root, question);
}

async function askIndex(
  reader: RegistryReader,
  root: IndexRoot,
  question: NodeQuestion,
): Promise<FoundAnswer> {
  const key = keyOf(question);
  let digest: Digest = root.top;
  for (const { prefix, next } of wayTo(root.widths, key)) {
    const node = await readBlob(reader, digest, NODE_LIMIT_BYTES);
    const child = readNode(node, question, prefix, next.length, digest).get(next);
    if (child === undefined) return { kind: "neverSeen", near: [] };
    digest = child;
  }
  const leaf = await readBlob(reader, digest, NODE_LIMIT_BYTES);
  return answerFrom(readLeaf(leaf, question, leafPrefix(root.widths, key), digest), question);
}

/** The signing of a farm whose root and head keys are these, without a process for each. */
export function withTestKeys(others: Farm["signing"]): Farm["signing"] {
  const own: Readonly<Partial<Record<Role, TestKey>>> = { root: ROOT_KEY, head: HEAD_KEY };
  return {
    keyless: [],
    async keysFor(role) {
      const key = own[role];
      if (key !== undefined) return new Map([[role, key.publicKey]]);
      // Such a farm has no log.
      return role === "log" ? new Map() : others.keysFor(role);
    },
    async sign(role, request, name) {
      const key = own[role];
      return key === undefined || !("text" in request)
        ? others.sign(role, request, name)
        : signature(request.text, key);
    },
  };
}
