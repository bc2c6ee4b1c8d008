/**
 * CSAF documents of the VEX profile, one for each CVE: Red Hat's, in which a product was a whole major release until 2026
 * and is a minor one (a stream) since, and SUSE's. What is said of a package in a product stands in relationships.
 */
import { z } from "zod";
import { CveId, type FeedRecord } from "../records.ts";
import { listOf, readJson } from "./content.ts";
import { dayOf, type FeedKind, type Found } from "./feed.ts";
import { isKernelPackage, isLivePatchPackage } from "./packages.ts";

const Id = z.string().max(1024);
const Helper = z.object({ cpe: z.string().max(512).optional(), purl: z.string().max(1024).optional() });
const Product = z.object({ product_id: Id, product_identification_helper: Helper.optional() });
type Product = z.infer<typeof Product>;
interface Branch {
  readonly product?: Product | undefined;
  readonly branches?: readonly Branch[] | undefined;
}
const Branch: z.ZodType<Branch> = z.lazy(() =>
  z.object({ product: Product.optional(), branches: listOf(Branch).optional() }),
);
const Ids = listOf(Id).default([]);

const Vex = z.object({
  document: z.object({
    tracking: z.object({
      id: z.string().max(256),
      current_release_date: z.string().optional(),
      initial_release_date: z.string().optional(),
    }),
  }),
  product_tree: z
    .object({
      branches: listOf(Branch).default([]),
      relationships: listOf(
        z.object({
          product_reference: Id,
          relates_to_product_reference: Id,
          full_product_name: z.object({ product_id: Id }),
        }),
      ).default([]),
    })
    .default({ branches: [], relationships: [] }),
  vulnerabilities: listOf(
    z.object({
      cve: CveId.optional(),
      product_status: z
        .object({ fixed: Ids, known_affected: Ids, known_not_affected: Ids, under_investigation: Ids })
        .partial()
        .default({}),
      remediations: listOf(z.object({ category: z.string(), product_ids: Ids })).default([]),
    }),
  ).default([]),
});
type Vex = z.infer<typeof Vex>;

const STATUSES = {
  fixed: "fixed",
  known_affected: "affected",
  known_not_affected: "not_affected",
  under_investigation: "under_investigation",
} as const;

export const csafVex: FeedKind = {
  name: "csaf-vex",
  address: "https://security.access.redhat.com/data/csaf/v2/vex/",
  licence: "CC-BY-4.0",

  async read(files, found) {
    for await (const file of files) {
      if (!file.name.endsWith(".json")) continue;
      const json = await readJson(file);
      const vex = json.kind === "bad" ? undefined : Vex.safeParse(json.value);
      if (json.kind === "bad") found.drop(json.reason, file.name);
      else if (vex?.success !== true) found.drop("is no CSAF document", file.name);
      else add(vex.data, found);
    }
  },
};

function add({ document, product_tree: tree, vulnerabilities }: Vex, found: Found): void {
  const { id, current_release_date: modified, initial_release_date: published } = document.tracking;
  found.dated(modified);
  const products = new Map<string, Product>();
  collect(tree.branches, products);
  const relations = new Map(tree.relationships.map((one) => [one.full_product_name.product_id, one]));
  const seen = new Set<string>();
  for (const { cve, product_status: statuses, remediations } of vulnerabilities) {
    if (cve === undefined) continue;
    const staying = new Set(
      remediations.flatMap((one) => (one.category === "no_fix_planned" ? one.product_ids : [])),
    );
    for (const [word, status] of Object.entries(STATUSES))
      for (const product of statuses[word as keyof typeof STATUSES] ?? []) {
        const [platform, component] = partsOf(product, relations);
        const said = packageOf(component, products.get(component));
        if (said === undefined || !isKernelPackage(said.name)) continue;
        const release = releaseOf(platform, products.get(platform));
        const key = [cve, release, said.name, status, said.version].join("\n");
        // One package comes in many architectures.
        if (seen.has(key)) continue;
        seen.add(key);
        const [publishedDay, modifiedDay] = [dayOf(published), dayOf(modified)];
        found.add(
          {
            ...{ type: "advisory", id: status === "fixed" ? `${id} ${said.version ?? ""}`.trim() : id },
            ...{ release, package: said.name, cves: [cve] },
            status: status === "affected" && staying.has(product) ? "will_not_fix" : status,
            ...(status === "fixed" && said.version !== undefined ? { version: said.version } : {}),
            ...(publishedDay === undefined ? {} : { published: publishedDay }),
            ...(modifiedDay === undefined ? {} : { modified: modifiedDay }),
            ...(isLivePatchPackage(said.name) ? { livepatch: true } : {}),
          } satisfies Partial<FeedRecord>,
          `${id} ${product}`,
        );
      }
  }
}

function collect(branches: readonly Branch[], into: Map<string, Product>): void {
  for (const { product, branches: below } of branches) {
    if (product !== undefined) into.set(product.product_id, product);
    collect(below ?? [], into);
  }
}

type Relations = ReadonlyMap<
  string,
  { readonly product_reference: string; readonly relates_to_product_reference: string }
>;

/** The product and the package in it; without a relationship, ids are written `product:package`. */
function partsOf(product: string, relations: Relations): [platform: string, component: string] {
  const relation = relations.get(product);
  if (relation !== undefined) return [relation.relates_to_product_reference, relation.product_reference];
  const colon = product.indexOf(":");
  return colon < 0 ? [product, ""] : [product.slice(0, colon), product.slice(colon + 1)];
}

const ARCHITECTURE = /\.(?:src|nosrc|noarch|x86_64|aarch64|ppc64le|s390x|i[3-6]86)$/;

/** `kernel-0:5.14.0-427.13.1.el9_4.src`, `kernel-default-5.14.21-150500.55.52.1.x86_64`, or a name alone. */
function packageOf(
  component: string,
  product: Product | undefined,
): { name: string; version?: string } | undefined {
  const [, purlName, purlVersion] =
    /^pkg:rpm\/[^/]+\/([^@?]+)(?:@([^?]+))?/.exec(product?.product_identification_helper?.purl ?? "") ?? [];
  if (purlName !== undefined)
    return { name: purlName, ...(purlVersion === undefined ? {} : { version: decoded(purlVersion) }) };
  const whole = component.replace(ARCHITECTURE, "");
  const [, name, epoch = "0", version] = /^(.+?)-(?:(\d+):)?(\d[^-:]*-[^-:]+)$/.exec(whole) ?? [];
  if (name !== undefined && version !== undefined)
    return { name, version: epoch === "0" ? version : `${epoch}:${version}` };
  return whole === "" ? undefined : { name: whole };
}

function decoded(text: string): string {
  return text.replaceAll("%2B", "+").replaceAll("%5E", "^").replaceAll("%7E", "~");
}

/** `rhel9.4`, `sles15.5`: as catalogs call it; others as the document does. */
function releaseOf(platform: string, product: Product | undefined): string {
  const cpe = product?.product_identification_helper?.cpe ?? "";
  const stream = /^rhel-(\d+(?:\.\d+)?)/.exec(platform)?.[1];
  if (stream !== undefined) return `rhel${stream}`;
  const [, channel, version] =
    /^cpe:\/[ao]:redhat:(enterprise_linux|rhel_\w+):(\d+(?:\.\d+)?)/.exec(cpe) ?? [];
  if (channel !== undefined && version !== undefined) return `rhel${version}`;
  const [, suse, pack] = /^cpe:\/o:suse:(?:sles|sle-module[\w-]*):(\d+)(?::sp(\d+))?/.exec(cpe) ?? [];
  if (suse !== undefined) return `sles${suse}${pack === undefined ? "" : `.${pack}`}`;
  return platform.slice(0, 256) || "unknown";
}
