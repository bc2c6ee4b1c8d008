/**
 * What nodes say of patches to their running kernels: `canonical-livepatch status --format json`, or lines of our own with
 * the attributes of /sys/kernel/livepatch. A patch that is still being applied has not patched anything yet.
 */
import { z } from "zod";
import { LivePatchAttributes, livePatchState } from "../../kernel/live-patch.ts";
import { CveId } from "../records.ts";
import { jsonLines, listOf, parseJson, readWhole } from "./content.ts";
import { dayOf, type FeedKind, type Found } from "./feed.ts";

const Fix = z.object({ Name: z.string(), Patched: z.boolean().default(false) });
const Status = z.object({
  "Client-Version": z.string().optional(),
  "Machine-Id": z.string().max(256).optional(),
  "Last-Check": z.string().optional(),
  Status: z
    .array(
      z.object({
        Kernel: z.string().max(256),
        Livepatch: z
          .object({
            State: z.string().optional(),
            Version: z.string().max(256).optional(),
            Fixes: listOf(Fix, 20_000).nullish(),
          })
          .nullish(),
      }),
    )
    .max(100),
});

/** Of Canonical's client. `applied-with-bug` is applied: what the bug is, its own notice says. */
const APPLIED = new Set(["applied", "applied-with-bug"]);

export const livepatch: FeedKind = {
  name: "livepatch",
  address: "",
  licence: "your own",

  async read(files, found) {
    for await (const file of files) {
      if (/\.(ndjson|jsonl)$/.test(file.name)) {
        for await (const { value, where } of jsonLines(file, found)) addLine(value, where, found);
        continue;
      }
      const bytes = await readWhole(file);
      const json = bytes.kind === "bad" ? bytes : parseJson(bytes.value);
      if (json.kind === "bad") found.drop(json.reason, file.name);
      else addStatus(json.value, file.name, found);
    }
  },
};

/** A line with a `state`, or with what the kernel itself says of the patch. */
function addLine(value: unknown, where: string, found: Found): void {
  if (typeof value !== "object" || value === null) {
    found.drop("is no object", where);
    return;
  }
  const { state, enabled, transition, replace, stack_order, ...line } = value as Record<string, unknown>;
  const read = LivePatchAttributes.safeParse({ enabled, transition, replace, stack_order });
  if (enabled !== undefined && !read.success) {
    found.drop("has attributes that are not those of /sys/kernel/livepatch", where);
    return;
  }
  const { at, cves = [] } = line;
  found.dated(at);
  const said = read.success
    ? { state: livePatchState(read.data), replace: read.data.replace, stackOrder: read.data.stack_order }
    : { state, replace };
  const day = typeof at === "string" ? { at: dayOf(at) ?? at } : {};
  found.add({ ...line, ...day, ...said, cves, type: "livepatch" }, where);
}

function addStatus(value: unknown, where: string, found: Found): void {
  const status = Status.safeParse(value);
  if (!status.success) {
    found.drop("is no status of canonical-livepatch", where);
    return;
  }
  const { "Machine-Id": machine, "Last-Check": checked, Status: kernels } = status.data;
  const at = dayOf(checked);
  found.dated(checked);
  for (const { Kernel: kernel, Livepatch: patch } of kernels) {
    if (patch == null) continue;
    const fixes = (patch.Fixes ?? []).filter(({ Patched }) => Patched);
    found.add(
      {
        ...{ type: "livepatch", node: machine ?? where.replace(/\.json$/, ""), kernel: releaseOf(kernel) },
        patch: `canonical-livepatch ${patch.Version ?? ""}`.trim(),
        state: APPLIED.has(patch.State ?? "") ? "applied" : "not_applied",
        cves: fixes.map(({ Name }) => Name.toUpperCase()).filter((name) => CveId.safeParse(name).success),
        ...(at === undefined ? {} : { at }),
      },
      where,
    );
  }
}

/** `5.15.0-91.101-generic` is package version and flavour; `uname -r` says `5.15.0-91-generic`. */
function releaseOf(kernel: string): string {
  const [, base, flavour] = /^(\d+\.\d+\.\d+-\d+)\.[\d.~]+-(.+)$/.exec(kernel) ?? [];
  return base === undefined ? kernel : `${base}-${flavour}`;
}
