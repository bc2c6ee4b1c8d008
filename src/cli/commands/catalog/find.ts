/**
 * `kmodfarm catalog find`: which kernel of the catalog a node runs.
 */
import { readFile } from "node:fs/promises";
import { machine as hostMachine, release as hostRelease, version as hostVersion } from "node:os";
import { visible } from "../../../base/visible.ts";
import { kernelName } from "../../../kernel/kernel.ts";
import { type Node, parseOsRelease, resolveNode } from "../../../kernel/node.ts";
import { readPublished } from "../../../registry/generations.ts";
import { openStore } from "../../../registry/stores/index.ts";
import type { OptionsOf } from "../../command.ts";
import { readText } from "../../input.ts";
import { configOf, requireStore } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { FIND } from "./command.ts";

type FindOptions = OptionsOf<typeof FIND>;

export async function find(options: FindOptions): Promise<number> {
  const node = await describeNode(options);
  const config = await configOf(options);
  await requireStore(config, options);
  const { catalog } = await readPublished(await openStore(config.store));
  const answer = resolveNode(catalog.kernels, node);
  if (options.json) await printJson({ schema: "kmodfarm.catalog-find/1", node, ...answer });
  else if (answer.kind === "found") {
    const same = answer.same.map((kernel) => `  the same packages: ${kernelName(kernel)}\n`);
    await print(`${kernelName(answer.kernel)}\n${same.join("")}`);
  } else {
    const others = answer.kind === "unknown" ? answer.near : answer.kernels;
    const reason = visible(answer.reason);
    await print(`${answer.kind}: ${reason}\n${others.map((kernel) => `  ${kernelName(kernel)}\n`).join("")}`);
  }
  return answer.kind === "found" ? 0 : 1;
}

const OS_RELEASE_LIMIT_BYTES = 1 << 20;

/** This machine, as far as the options do not say otherwise: another node's words come with its own os-release or none. */
async function describeNode({ unameR, unameV, unameM, osRelease }: FindOptions): Promise<Node> {
  const isHere = unameR === undefined && unameV === undefined && unameM === undefined;
  const text =
    osRelease !== undefined
      ? await readText(osRelease, OS_RELEASE_LIMIT_BYTES)
      : isHere
        ? await readFile("/etc/os-release", "utf8").catch(() => "")
        : "";
  return {
    release: unameR ?? hostRelease(),
    version: unameV ?? (isHere ? hostVersion() : ""),
    machine: unameM ?? hostMachine(),
    ...parseOsRelease(text),
  };
}
