/**
 * kernelCTF: working exploits that were handed in, and what each needs of the kernel. Its `exploits` are a list in version 2
 * of their form and an object in version 3.
 */
import { z } from "zod";
import { readJson, recordOf } from "./content.ts";
import { dayOf, type FeedKind, type Found } from "./feed.ts";

const Words = z.array(z.string().max(256)).max(100).default([]);
const Exploit = z.object({ environment: z.string().max(256).optional(), uses: Words });
const Metadata = z.object({
  submission_ids: z.array(z.string().max(100)).max(100).default([]),
  vulnerability: z.object({
    cve: z.string().optional(),
    requirements: z
      .object({ attack_surface: Words, capabilities: Words, kernel_config: Words })
      .partial()
      .default({}),
  }),
  exploits: z.union([z.array(Exploit).max(100), recordOf(Exploit)]).default([]),
  _added: z.string().optional(),
});

export const kernelctf: FeedKind = {
  name: "kernelctf",
  address: "https://github.com/google/security-research",
  licence: "Apache-2.0",

  async read(files, found) {
    for await (const file of files) {
      if (!file.name.endsWith(".json")) continue;
      const json = await readJson(file);
      if (json.kind === "bad") found.drop(json.reason, file.name);
      else
        for (const value of Array.isArray(json.value) ? json.value : [json.value])
          add(value, file.name, found);
    }
  },
};

function add(value: unknown, where: string, found: Found): void {
  const parsed = Metadata.safeParse(value);
  if (!parsed.success) {
    found.drop("is no metadata of an exploit", where);
    return;
  }
  const { submission_ids: ids, vulnerability, exploits, _added } = parsed.data;
  const { cve, requirements } = vulnerability;
  // Some of what was handed in never got a number.
  if (cve === undefined || !cve.startsWith("CVE-")) return;
  const uses = Object.entries(exploits).map(([name, exploit]) => ({
    ...exploit,
    environment: exploit.environment ?? name,
  }));
  const surface = [...(requirements.attack_surface ?? []), ...uses.flatMap((exploit) => exploit.uses)];
  const added = dayOf(_added);
  found.dated(_added);
  found.add(
    {
      ...{ type: "exploit", cve, id: ids.join(" ") || where },
      ...(added === undefined ? {} : { added }),
      environments: [...new Set(uses.map(({ environment }) => environment))].sort(),
      options: requirements.kernel_config ?? [],
      capabilities: requirements.capabilities ?? [],
      needsUserNamespaces: surface.includes("userns"),
    },
    where,
  );
}
